package approle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// page is how many secret ids are erased in one commit.
const page = store.MaxWrites / 3

// upkeep erases secret ids that have expired, and what removed roles have left.
func upkeep(ctx context.Context, s store.Store, now time.Time) error {
	gone, err := store.Children(ctx, s, gonePrefix, "", 0)
	if err != nil {
		return fmt.Errorf("approle: finding removed roles: %w", err)
	}
	for _, id := range gone {
		if err := eraseRole(ctx, s, id); err != nil {
			return err
		}
	}
	due := store.Range{Start: duePrefix, End: duePrefix + stamp(now), Limit: page, KeysOnly: true}
	for {
		es, err := s.List(ctx, due)
		if err == nil && len(es) > 0 {
			err = eraseDue(ctx, s, es, now)
		}
		if err != nil {
			return fmt.Errorf("approle: erasing what has expired: %w", err)
		}
		if len(es) < page {
			return nil
		}
	}
}

// eraseDue erases the secret ids that some notes are about, and the notes. A row that
// cannot be read stays: it lets nobody in, and keeps nothing else from going.
func eraseDue(ctx context.Context, s store.Store, notes []store.Entry, now time.Time) error {
	_, err := store.Update(ctx, s, func(tx *store.Tx) error {
		for _, n := range notes {
			tx.Delete(n.Key)
			_, name, _ := strings.Cut(strings.TrimPrefix(n.Key, duePrefix), "/")
			e, err := tx.Get(secretPrefix + name)
			found, err := decodeSecret(e, err)
			switch {
			case errors.Is(err, store.ErrCorrupt):
				continue
			case err != nil:
				return err
			case found == nil || found.Expires.IsZero() || now.Before(found.Expires):
				continue
			}
			role, _, _ := strings.Cut(name, "/")
			tx.Delete(secretPrefix + name)
			tx.Delete(accessorPrefix + role + "/" + found.At)
		}
		return nil
	})
	return err
}

// eraseRole erases the secret ids of a removed role. It may be repeated.
func eraseRole(ctx context.Context, s store.Store, id string) error {
	for _, prefix := range []string{secretPrefix, accessorPrefix} {
		if err := store.Erase(ctx, s, prefix+id+"/"); err != nil {
			return fmt.Errorf("approle: erasing a removed role's secret ids: %w", err)
		}
	}
	_, err := s.Commit(ctx, nil, []store.Write{{Key: gonePrefix + id, Delete: true}})
	return err
}
