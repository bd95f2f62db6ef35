package lockout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// The size of a mount's table: 16,384 accounts at most, in rows of some KiB.
const (
	places = 1024
	ways   = 16
)

// entry is an account with failures.
type entry struct {
	Account  string    `json:"account"`
	Failures int       `json:"failures"`
	Last     time.Time `json:"last"` // when the last of them was
}

// row is a place of the table: its accounts, shared and not to be modified when it
// comes from memory.
type row struct {
	Entries []entry `json:"entries"`
}

// locked reports whether the account takes no credential.
func (e *entry) locked(s Settings, now time.Time) bool {
	return e.Failures >= s.Threshold && now.Before(e.Last.Add(s.Duration))
}

// live reports whether the failures still count.
func (e *entry) live(s Settings, now time.Time) bool {
	if e.Failures >= s.Threshold {
		return e.locked(s, now)
	}
	return now.Before(e.Last.Add(s.Reset))
}

// place is the key of the row that an account of a mount has its place in.
func (s *Store) place(c *api.Call, mountID, account string) (string, error) {
	hash, err := s.Hash(c, c.Namespace.ID, "lockout/"+mountID+"/"+account)
	if err != nil || len(hash) < 8 {
		return "", fmt.Errorf("lockout: hash: %w", err)
	}
	n, err := strconv.ParseUint(hash[:8], 16, 32)
	if err != nil {
		return "", fmt.Errorf("lockout: hash: %w", err)
	}
	return s.Rows(c.Namespace.ID, mountID) + fmt.Sprintf("%03x", n%places), nil
}

func loadRow(ctx context.Context, r store.Reader, key string) (*row, error) {
	e, err := r.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return decodeRow(e)
}

// decodeRow is nil for an absent one.
func decodeRow(e store.Entry) (*row, error) {
	if !e.Exists() {
		return nil, nil
	}
	return store.DecodeJSON[row](e)
}

// find is an account's entry; nil when it has none.
func (r *row) find(account string) *entry {
	if r == nil {
		return nil
	}
	for i := range r.Entries {
		if r.Entries[i].Account == account {
			return &r.Entries[i]
		}
	}
	return nil
}

func (r *row) drop(account string) {
	r.Entries = slices.DeleteFunc(r.Entries, func(e entry) bool { return e.Account == account })
}

// tidy drops what no longer counts.
func (r *row) tidy(s Settings, now time.Time) {
	r.Entries = slices.DeleteFunc(r.Entries, func(e entry) bool { return !e.live(s, now) })
}

// room makes an entry for an account. In a full row it takes the place of the one with
// the fewest failures, and of those the oldest.
func (r *row) room(account string, s Settings) *entry {
	if len(r.Entries) >= ways {
		least := 0
		for i := range r.Entries {
			e, l := &r.Entries[i], &r.Entries[least]
			if f, g := min(e.Failures, s.Threshold), min(l.Failures, s.Threshold); f < g || f == g && e.Last.Before(l.Last) {
				least = i
			}
		}
		r.Entries = slices.Delete(r.Entries, least, least+1)
	}
	r.Entries = append(r.Entries, entry{Account: account})
	return &r.Entries[len(r.Entries)-1]
}

func (r *row) write(tx *store.Tx, key string) error {
	if len(r.Entries) == 0 {
		tx.Delete(key)
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("lockout: encode row: %w", err)
	}
	tx.Put(key, b)
	return nil
}
