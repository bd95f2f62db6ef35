package namespace

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

// Destroy removes a namespace that Delete has marked: first its keys, which
// makes everything in it unreadable at once, then its rows. It can be repeated
// after a kill at any point, and by two nodes at once.
func (r *Registry) Destroy(ctx context.Context, id string) error {
	n, err := loadByID(ctx, r.store, id)
	if err != nil || n == nil {
		return err
	}
	if n.ID != id || !n.Deleting {
		return fmt.Errorf("namespace %s is not marked for deletion", id)
	}
	if err := r.keys.DropNamespace(ctx, id); err != nil {
		return err
	}
	if err := DeletePrefix(ctx, r.store, id+"/"); err != nil {
		return err
	}
	_, err = store.Update(ctx, r.store, func(tx *store.Tx) error {
		now, err := rowOf(tx, n.rowKey())
		if err != nil {
			return err
		}
		if now != nil && now.ID == id { // else its name has been given to another
			tx.Delete(n.rowKey())
		}
		tx.Delete(index + id)
		return nil
	})
	return err
}

// deletable reports whether a prefix may be deleted as a whole: it ends a segment
// and lies in one namespace, and not in all of the root namespace, which has the
// rows of all others. Anything shorter is a mistake, or a damaged row.
func deletable(prefix string) bool {
	segments := strings.Split(prefix, "/")
	last := len(segments) - 1
	if last < 1 || segments[last] != "" || slices.Contains(segments[:last], "") {
		return false
	}
	return len(segments[0]) == idLength || segments[0] == RootID && last > 1
}

// DeletePrefix removes every key under a prefix, a bounded number at a time. It
// refuses a prefix that names neither a namespace, by its identifier and a slash,
// nor something within one that ends in a slash.
func DeletePrefix(ctx context.Context, s store.Store, prefix string) error {
	if !deletable(prefix) {
		return fmt.Errorf("namespace: %q is too little to delete all that begins with it", prefix)
	}
	return store.Erase(ctx, s, prefix)
}
