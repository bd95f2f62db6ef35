package policies

import "context"

// Has reports whether a namespace has a policy of that name.
func (s *Store) Has(ctx context.Context, nsID, name string) (bool, error) {
	if name == rootName {
		return nsID == rootName, nil
	}
	e, err := s.store.Get(ctx, rowKey(nsID, name))
	return e.Exists(), err
}
