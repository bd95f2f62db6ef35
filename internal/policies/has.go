package policies

import "context"

// Has reports whether a namespace has a policy of that name
// which has not expired.
func (s *Store) Has(ctx context.Context, nsID, name string) (bool, error) {
	if name == rootName {
		return nsID == rootName, nil
	}
	r, err := load(ctx, s.store, nsID, name)
	return r != nil && !r.expired(s.now()), err
}
