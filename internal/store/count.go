package store

import "context"

// countPage is how many keys Count reads at once.
const countPage = 4096

// Count is how many keys there are with a prefix. It reads all of them, in pages,
// and no value. between, if not nil, is called from one page to the next, and ends
// the count with its error.
func Count(ctx context.Context, s Store, prefix string, between func() error) (int, error) {
	r := Prefix(prefix)
	r.KeysOnly, r.Limit = true, countPage
	for total := 0; ; {
		page, err := s.List(ctx, r)
		if total += len(page); err != nil || len(page) < countPage {
			return total, err
		}
		if between != nil {
			if err := between(); err != nil {
				return total, err
			}
		}
		r.Start = page[len(page)-1].Key + "\x00"
	}
}
