package quota

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

// Count is a bound on how many leases and tokens there are at a time.
type Count struct {
	ID   string `json:"id"` // the mark of what it counts
	Name string `json:"-"`
	place
	Max     int64  `json:"max"`
	GroupBy string `json:"group_by,omitempty"` // whose are counted together; empty: all
}

// parts is over how many rows the room of a quota is spread, so that as many
// commits can take of it at once.
const parts = 16

// The room of a quota is what may still be made under it: the sum of its parts, less
// its debt. There is a debt only while all parts are empty, so that whoever takes from a
// part need not look at the others, nor at the debt. What exists is the most that may, less
// the room: no row of it is counted twice or not at all, since the room changes in the commit
// that makes or removes it.
func roomPrefix(id string) string     { return roomsPrefix + id + "/" }
func partKey(id string, i int) string { return roomPrefix(id) + "part/" + strconv.Itoa(i) }
func debtKey(id string) string        { return roomPrefix(id) + "debt" }
func anyPart(id string) string        { return partKey(id, rand.IntN(parts)) }

func number(e store.Entry) (int64, error) {
	n, err := strconv.ParseInt(string(e.Value), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("quota: row %q is not as it was written: %w", e.Key, store.ErrCorrupt)
	}
	return n, nil
}

// get reads a number as part of a transaction; false when there is none.
func get(tx *store.Tx, key string) (int64, bool, error) {
	e, err := tx.Get(key)
	if err != nil || !e.Exists() {
		return 0, false, err
	}
	n, err := number(e)
	return n, true, err
}

func set(tx *store.Tx, key string, n int64) { tx.Put(key, strconv.AppendInt(nil, n, 10)) }

// room is how much room a quota has, of one moment, and a part that has some; empty: none
// has. It is negative where there is a debt.
func room(ctx context.Context, s store.Reader, id string) (left int64, part string, err error) {
	es, err := s.List(ctx, store.Prefix(roomPrefix(id)))
	if err != nil {
		return 0, "", fmt.Errorf("quota: read room: %w", err)
	}
	parts := 0
	for _, e := range es {
		n, err := number(e)
		switch {
		case err != nil:
			return 0, "", err
		case strings.HasSuffix(e.Key, "/debt"):
			left -= n
		case n > 0:
			left += n
			if parts++; rand.IntN(parts) == 0 { // each with the same chance
				part = e.Key
			}
		}
	}
	return left, part, nil
}

// enter takes room for one. It reports false when there is none.
func enter(tx *store.Tx, s store.Reader, id string) (bool, error) {
	_, part, err := room(tx.Context(), s, id)
	if err != nil || part == "" {
		return false, err
	}
	n, _, err := get(tx, part)
	if err == nil && n == 0 {
		err = store.ErrConflict // somebody has taken it since
	}
	if err == nil {
		set(tx, part, n-1)
	}
	return err == nil, err
}

// owe takes room for one whether or not there is any.
func owe(tx *store.Tx, s store.Reader, id string) error {
	entered, err := enter(tx, s, id)
	if err != nil || entered {
		return err
	}
	for i := range parts {
		n, _, err := get(tx, partKey(id, i))
		if err == nil && n > 0 {
			err = store.ErrConflict
		}
		if err != nil {
			return err
		}
	}
	n, _, err := get(tx, debtKey(id))
	set(tx, debtKey(id), n+1)
	return err
}

// leave gives room back for so many. A quota that is gone has none to give it to.
func leave(tx *store.Tx, id string, many int64) error {
	part := anyPart(id)
	n, there, err := get(tx, part)
	if err != nil || !there {
		return err
	}
	debt, _, err := get(tx, debtKey(id))
	if err != nil {
		return err
	}
	paid := min(debt, many)
	switch {
	case paid == 0:
	case paid == debt:
		tx.Delete(debtKey(id))
	default:
		set(tx, debtKey(id), debt-paid)
	}
	if many > paid {
		set(tx, part, n+many-paid)
	}
	return nil
}

// resize makes room for so many more, or fewer.
func resize(tx *store.Tx, id string, by int64) error {
	debt, _, err := get(tx, debtKey(id))
	left := by - debt
	for i := range parts {
		n, _, perr := get(tx, partKey(id, i))
		if err == nil {
			err = perr
		}
		left += n
	}
	spread := max(left, 0)
	for i := range int64(parts) {
		n := spread / parts
		if i < spread%parts {
			n++
		}
		set(tx, partKey(id, int(i)), n)
	}
	tx.Delete(debtKey(id))
	if left < 0 {
		set(tx, debtKey(id), -left)
	}
	return err
}

// clear removes the room of a quota that is no more.
func clearRoom(tx *store.Tx, id string) {
	for i := range parts {
		tx.Delete(partKey(id, i))
	}
	tx.Delete(debtKey(id))
}
