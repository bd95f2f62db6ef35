// Package snapshot owns copies of a whole store: taking one while the store is used,
// putting one into an empty store of any engine, and seeing that what was put there is
// what was taken. Package framed has their form.
//
// A snapshot holds the rows below the barrier as they lie, encrypted, the key slots
// among them; left out are the rows of the nodes that happen to be there. Whoever has
// no key can tell that it is whole, and cannot make one: the MAC at its end is under a
// key of the root namespace.
//
// The empty store that a snapshot is put into has no keys to check the MAC with. So
// the snapshot's claim and MAC are kept beside the rows, in the row core/restore, and
// who first unseals the store compares the one with the rows that are there and the
// other with the key, and is refused if they do not match.
//
// The same row, without a claim, says that a restore has begun and not ended. As long
// as it is there the store is neither initialised nor can it be: the key ring is
// written last, in the commit that completes the row.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/store"
)

// rootNamespace is the namespace whose key authenticates snapshots.
const rootNamespace = "root"

// Errors. Test with errors.Is.
var (
	// ErrNotEmpty says that a store holds data, so that nothing is restored into it.
	ErrNotEmpty = errors.New("the store is not empty, and a snapshot is only put into an empty one")
	// ErrUnfinished says that a restore has begun and not ended.
	ErrUnfinished = errors.New("a restore into this store has not finished")
	// ErrForged says that what was restored is not what a holder of the keys had saved.
	ErrForged = errors.New("what was restored is not what was saved")
	// ErrOvertaken says that another restore has begun meanwhile.
	ErrOvertaken = errors.New("another restore into this store has begun meanwhile")
)

// Keeper takes snapshots of a store and puts them into it. Its fields are set once,
// before the first request.
type Keeper struct {
	Store   store.Engine // below the barrier
	Barrier *barrier.Barrier
	Seal    *seal.Manager
	Version string // of this server's program
	Engine  string // kind of the store
	// Isolate puts the store into quarantine, once for each restore: what came with
	// the snapshot is not taken back before somebody says so.
	Isolate func(ctx context.Context, restore string, restored, taken time.Time) error
	Now     func() time.Time
	Log     *slog.Logger

	saving    atomic.Bool // one at a time: it reads the whole store
	restoring atomic.Bool // one at a time: anybody may try
}

// left reports whether a row belongs to the store it lies in and not into a snapshot.
func left(key string) bool { return key == barrier.RestoreKey || fleet.Owns(key) }

// key is the key that authenticates snapshots.
func (k *Keeper) key(ctx context.Context) (*barrier.Key, error) {
	return k.Barrier.PurposeKey(ctx, rootNamespace, barrier.Backup)
}

// How much is read at once: so many keys, and of them so many rows with their values,
// about pageBytes.
const (
	keysAtOnce = 4096
	fewRows    = 16
	mostRows   = 256
	pageBytes  = 4 << 20
)

// each calls fn for every row of a store, or of a view of one, reading some at a time;
// keysOnly leaves values out. It asks for values between two keys that are known: etcd
// counts all rows up to the end that it is told, for each page anew.
func each(ctx context.Context, r store.Reader, keysOnly bool, fn func(store.Entry) error) error {
	in := store.Range{KeysOnly: true, Limit: keysAtOnce}
	for {
		keys, err := r.List(ctx, in)
		if err != nil {
			return err
		}
		if keysOnly {
			err = call(keys, fn)
		} else {
			err = values(ctx, r, keys, fn)
		}
		if err != nil || len(keys) < in.Limit {
			return err
		}
		in = in.After(keys[len(keys)-1].Key)
	}
}

// values calls fn for the rows with keys that were listed.
func values(ctx context.Context, r store.Reader, keys []store.Entry, fn func(store.Entry) error) error {
	for n := fewRows; len(keys) > 0; {
		n = min(n, len(keys))
		es, err := r.List(ctx, store.Range{Start: keys[0].Key, End: keys[n-1].Key + "\x00"})
		if err == nil {
			err = call(es, fn)
		}
		if err != nil {
			return err
		}
		largest := 1
		for _, e := range es {
			largest = max(largest, len(e.Key)+len(e.Value))
		}
		keys, n = keys[n:], min(max(pageBytes/largest, fewRows), mostRows)
	}
	return nil
}

func call(es []store.Entry, fn func(store.Entry) error) error {
	for _, e := range es {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// Unfinished returns ErrUnfinished when a restore into a store has begun and not ended.
func Unfinished(ctx context.Context, s store.Reader) error {
	m, err := readMark(ctx, s)
	if err == nil && m != nil && !m.Done {
		err = ErrUnfinished
	}
	return err
}

// Refused words an error of this package for who asked.
func Refused(err error) error {
	for known, hint := range map[error]string{
		ErrNotEmpty:   "start a server on an empty store, and restore there",
		ErrUnfinished: "restore the snapshot again, or empty the store",
		ErrForged:     "empty the store, and restore a snapshot that was kept safe",
		ErrOvertaken:  "let the other one finish",
	} {
		if errors.Is(err, known) {
			return &api.Error{Kind: api.Invalid, Message: err.Error(), Hint: hint, Err: err}
		}
	}
	return err
}

// Ready returns an error for who asked when a restore into the store has not finished.
func (k *Keeper) Ready(ctx context.Context) error { return Refused(Unfinished(ctx, k.Store)) }

// Overview is what there is to say of a store that was restored.
type Overview struct {
	Held     bool   `json:"leases_held"` // leases that came with the snapshot are held by this restore; what an earlier one holds goes on either way
	Cluster  string `json:"cluster_id"`
	Revision uint64 `json:"revision"` // of the store that the snapshot was taken from
	Taken    string `json:"taken"`
	Rows     uint64 `json:"rows"`
	Bytes    uint64 `json:"bytes"`
	KeySlots []Slot `json:"key_slots"` // any one of them unseals
}

// Slot is a key slot that unseals what was restored.
type Slot struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Shares    int    `json:"shares,omitempty"`
	Threshold int    `json:"threshold,omitempty"`
	KeyFile   string `json:"key_file,omitempty"` // name of the file that the key is in
}

// Slots tells what unseals a store.
func Slots(ctx context.Context, m *seal.Manager) ([]Slot, error) {
	all, err := m.ListSlots(ctx)
	var out []Slot
	for _, s := range all {
		slot := Slot{Name: s.Name, Kind: s.Kind, Shares: s.Shares, Threshold: s.Threshold}
		if s.Kind == seal.KindFile {
			slot.KeyFile = seal.KeyFile(s.ID)
		}
		out = append(out, slot)
	}
	if err != nil {
		err = fmt.Errorf("reading the key slots: %w", err)
	}
	return out, err
}
