package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

// formatKey is the row that says in which format the store is.
const formatKey = "core/format"

// ErrFormat says that the store is in a format that this version cannot read.
var ErrFormat = errors.New("the store is in a format that this version of strongroom cannot read")

// format is the row. Every node that joins writes it, so that who moves the store
// to a newer format sees, by its revision, all that have joined.
type format struct {
	Format int `json:"format"`
}

// Stored is the format that the store is in: what nodes may write. A store that
// says nothing is in the first one.
func Stored(ctx context.Context, s store.Reader) (int, error) {
	v, err := readFormat(s.Get(ctx, formatKey))
	return v.Format, err
}

// Check returns ErrFormat when a store is in a format that this version cannot
// read. It writes nothing: a server calls it before anything else.
func Check(ctx context.Context, s store.Reader) error {
	v, err := Stored(ctx, s)
	if err != nil {
		return err
	}
	return Readable(v)
}

// Readable returns ErrFormat unless this version reads a stored format.
func Readable(format int) error { return inReach(format, 1, Format) }

// FormatRow is the row that says that the store is in a format.
func FormatRow(stored int) (store.Write, error) {
	b, err := json.Marshal(format{Format: stored})
	return store.Write{Key: formatKey, Value: b}, err
}

func inReach(stored, oldest, newest int) error {
	switch {
	case stored > newest:
		return fmt.Errorf("%w: it is %d and this version reads up to %d; start a newer version on it", ErrFormat, stored, newest)
	case stored < oldest:
		return fmt.Errorf("%w: it is %d and this version reads from %d on; start a version between the two first", ErrFormat, stored, oldest)
	}
	return nil
}

func readFormat(e store.Entry, err error) (format, error) {
	v := format{Format: 1}
	if err != nil || !e.Exists() {
		return v, err
	}
	stored, err := store.DecodeJSON[format](e)
	if err != nil {
		return v, err
	}
	return *stored, nil
}

// readable reads the format in a transaction and refuses one out of reach.
func (f *Fleet) readable(tx *store.Tx) (format, error) {
	v, err := readFormat(tx.Get(formatKey))
	if err != nil {
		return v, err
	}
	return v, inReach(v.Format, f.Oldest, f.Newest)
}

// raise moves the store to the newest format that every node can read. A node
// that is lost counts no longer; should it come back it finds the store out of
// its reach and ends.
func (f *Fleet) raise(ctx context.Context) error {
	var from, to int
	_, err := store.Update(ctx, f.Store, func(tx *store.Tx) error {
		v, err := f.readable(tx)
		if err != nil || v.Format == f.Newest {
			return err
		}
		members, err := f.living(tx.Context())
		if err != nil {
			return fmt.Errorf("the store stays in format %d: %w", v.Format, err)
		}
		if from, to = v.Format, f.reach(members); to <= from {
			return nil
		}
		v.Format = to
		return putJSON(tx, formatKey, v)
	})
	if err == nil && to > from {
		f.Log.Info("all nodes read a newer stored format: the store moves to it", slog.Int("from", from), slog.Int("to", to))
	}
	return err
}

// reach is the newest format that all of the members read.
func (f *Fleet) reach(living []Member) int {
	newest := f.Newest
	for i := range living {
		newest = min(newest, living[i].Format)
	}
	return newest
}

func putJSON(tx *store.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		tx.Put(key, b)
	}
	return err
}

// parseMember reads a node's row, which says of itself which node it is of.
func parseMember(e store.Entry) (Member, error) {
	m, err := store.DecodeJSON[Member](e)
	if err != nil {
		return Member{}, err
	}
	if nodePrefix+m.ID != e.Key {
		return Member{}, fmt.Errorf("%w: row %q is of another node", store.ErrCorrupt, e.Key)
	}
	if m.Seen.IsZero() || m.Format < 1 {
		return Member{}, fmt.Errorf("%w: row %q does not say what a node says of itself", store.ErrCorrupt, e.Key)
	}
	return *m, nil
}

func sortMembers(all []Member) {
	slices.SortFunc(all, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Address, b.Address), strings.Compare(a.ID, b.ID))
	})
}
