package store

import "context"

// Erase deletes every key that begins with a prefix, MaxWrites of them in a commit. It
// may be repeated after it was cut short, and run on two nodes at once.
func Erase(ctx context.Context, s Store, prefix string) error {
	r := Prefix(prefix)
	r.Limit, r.KeysOnly = MaxWrites, true
	for {
		es, err := s.List(ctx, r)
		if err != nil || len(es) == 0 {
			return err
		}
		ws := make([]Write, len(es))
		for i, e := range es {
			ws[i] = Write{Key: e.Key, Delete: true}
		}
		if _, err := s.Commit(ctx, nil, ws); err != nil {
			return err
		}
	}
}
