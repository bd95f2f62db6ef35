// Package fleet owns what the nodes on one store know of each other: which there
// are, how each one is, in which format they store, and the order to seal that one
// of them gives to all. Nodes need none of it to serve: there is no leader and no
// lock, and a node that is not heard of is merely shown as lost.
//
// A node's row lies in the clear below the barrier, since a sealed node tells how
// it is too. It holds nothing secret, and nobody is let in or kept out by it.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// What a node does, and when others take it for lost.
const (
	beatEvery   = 10 * time.Second // how often a node tells how it is
	lostAfter   = time.Minute      // a node that was not heard of for so long is lost
	goneAfter   = time.Hour        // and after so long it is shown as gone
	forgetAfter = 24 * time.Hour   // and then no longer
)

// nodePrefix is where the nodes' rows are.
const nodePrefix = "core/nodes/"

// Owns reports whether a row of the store below the barrier is of this package: of the
// nodes that are there and the format, and not of what the store was filled with.
func Owns(key string) bool { return key == formatKey || strings.HasPrefix(key, nodePrefix) }

// Member is one node as it tells of itself.
type Member struct {
	ID      string    `json:"id"`                // of one life of the process
	Name    string    `json:"name"`              // of its machine; may be empty
	Address string    `json:"address"`           // where clients reach it
	Version string    `json:"version"`           // of the API that it speaks
	Program string    `json:"program,omitempty"` // the version of its program, and the commit; empty: of one that did not tell
	Format  int       `json:"format"`            // the newest stored format that it reads
	Ready   bool      `json:"ready"`             // the store has been initialised
	Sealed  bool      `json:"sealed"`            // it serves no secrets
	Started time.Time `json:"started"`           // when its process began
	Seen    time.Time `json:"seen"`              // when it last told of itself, by its own clock
	// Clock is how far that clock is ahead of this node's, within a beat or two; 0: by little, or it is not known.
	Clock    time.Duration `json:"-"`
	Revision store.Rev     `json:"revision"`          // up to which it had applied the store's commits then
	Lag      Millis        `json:"lag"`               // how long it had taken to come so far
	Warning  string        `json:"warning,omitempty"` // what its operator must know of the store

	StoreMember string `json:"store_member,omitempty"` // the id of the store's member in its process; empty: it has none
	Ended       bool   `json:"ended,omitempty"`        // others know that it has ended: it counts until it is lost, and is not listed
}

// Millis is a duration that is stored in milliseconds.
type Millis time.Duration

// MarshalJSON writes whole milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(m).Milliseconds())
}

// UnmarshalJSON reads whole milliseconds.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var n int64
	err := json.Unmarshal(b, &n)
	*m = Millis(time.Duration(n) * time.Millisecond)
	return err
}

// Fleet is a node's view of all nodes, itself among them. Its fields are set once.
type Fleet struct {
	Store store.Store // the store below the barrier
	ID    string      // of this node, in this life of its process
	// Self tells how this node is now. ID, Format and Seen are filled in.
	Self func(ctx context.Context) Member
	// Alone says that no other process can open the store: nobody listens, so a node
	// tells of itself only when it has changed.
	Alone bool
	// Newest is the newest format that this version reads, Oldest the oldest.
	Newest, Oldest int
	// Notice is what an operator must know of the store; empty: nothing. May be nil.
	Notice func(ctx context.Context) string
	// Outdated is told when the store has moved to a format that this node cannot read.
	Outdated func(error)
	Now      func() time.Time
	Log      *slog.Logger

	kicked    chan struct{}
	once      sync.Once
	mu        sync.Mutex
	sightings map[string]sighting // of the nodes' rows, by their keys
	looked    time.Time           // when they were last looked at
	known     atomic.Bool         // this life of the node has told of itself
}

// Join makes the node known, provided that it can read what is stored. When it
// cannot it returns ErrFormat and has written nothing. A store without room is no
// reason not to serve what it holds: such a node is made known later (see Known).
func (f *Fleet) Join(ctx context.Context) error {
	err := f.Known(ctx)
	if errors.Is(err, store.ErrFull) {
		f.Log.Error("the store has no room: this node reads, and writes once there is", slog.Any("error", err))
		return nil
	}
	return err
}

// Known makes the node known unless it is. A node writes nothing before: the others
// would not know which format it reads.
func (f *Fleet) Known(ctx context.Context) error {
	if f.known.Load() {
		return nil
	}
	if err := f.tell(ctx); err != nil {
		return fmt.Errorf("joining the nodes of this store: %w", err)
	}
	return nil
}

// tell writes down how the node is. One that others do not count, since it is new
// or was lost, also moves the row that says in which format the store is.
func (f *Fleet) tell(ctx context.Context) error {
	self := f.self(ctx)
	_, err := store.Update(ctx, f.Store, func(tx *store.Tx) error {
		v, err := f.readable(tx)
		if err != nil {
			return err
		}
		before, err := tx.Get(nodePrefix + self.ID)
		if err != nil {
			return err
		}
		if m, err := parseMember(before); err != nil || m.Lost(self.Seen) {
			if err := putJSON(tx, formatKey, v); err != nil {
				return err
			}
		}
		return putJSON(tx, nodePrefix+f.ID, self)
	})
	if err == nil {
		f.known.Store(true)
	}
	return err
}

// Run tells how the node is until ctx ends, and then that it has gone. It starts
// at once with what has changed since Join.
func (f *Fleet) Run(ctx context.Context) {
	for failed := false; ; {
		err := f.beat(ctx)
		if ctx.Err() != nil {
			f.leave(context.WithoutCancel(ctx))
			return
		}
		if err != nil && !failed {
			f.Log.Warn("what the nodes tell each other is not in order", slog.Any("error", err))
		}
		failed = err != nil
		f.pause(ctx, failed)
	}
}

// pause waits until it is time to tell again.
func (f *Fleet) pause(ctx context.Context, failed bool) {
	var due <-chan time.Time
	if !f.Alone || failed {
		t := time.NewTimer(beatEvery)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-due:
	case <-f.kicks():
	}
}

func (f *Fleet) kicks() chan struct{} {
	f.once.Do(func() { f.kicked = make(chan struct{}, 1) })
	return f.kicked
}

// Changed has the node tell at once how it is now.
func (f *Fleet) Changed() {
	select {
	case f.kicks() <- struct{}{}:
	default: // it is about to
	}
}

func (f *Fleet) self(ctx context.Context) Member {
	m := f.Self(ctx)
	m.ID, m.Format, m.Seen = f.ID, f.Newest, f.Now().UTC()
	return m
}

// beat tells how the node is, once, and tidies away who has long gone.
func (f *Fleet) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatEvery)
	defer cancel()
	err := f.tell(ctx)
	if errors.Is(err, ErrFormat) && f.Outdated != nil {
		f.Outdated(err)
	}
	switch {
	case err != nil:
		return fmt.Errorf("telling the others how this node is: %w", err)
	case f.Alone:
		return f.forget(ctx)
	}
	return errors.Join(f.forget(ctx), f.raise(ctx))
}

// leave removes the node's row, and has earlier lives at its place listed no more. One that is killed instead is shown as lost.
func (f *Fleet) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	key := nodePrefix + f.ID
	if _, err := f.Store.Commit(ctx, nil, []store.Write{{Key: key, Delete: true}}); err != nil {
		f.Log.Debug("this node could not take leave of the others", slog.Any("error", err))
	}
	self := f.self(ctx)
	if err := f.close(ctx, func(m *Member) bool { return m.ID != f.ID && f.follows(&self, m) }); err != nil {
		f.Log.Debug("earlier lives of this node stay listed", slog.Any("error", err))
	}
}

// Depart takes note that the node with a member of the store has ended, since that member is none any more: the node itself
// could not say so.
func (f *Fleet) Depart(ctx context.Context, member string) error {
	return f.close(ctx, func(m *Member) bool { return m.StoreMember == member })
}

// close takes note of nodes that have ended. One that lives all the same writes its row anew.
func (f *Fleet) close(ctx context.Context, ended func(*Member) bool) error {
	members, es, _, err := f.rows(ctx)
	for i := range members {
		if !ended(&members[i]) {
			continue
		}
		members[i].Ended = true
		value, merr := json.Marshal(&members[i])
		if err = errors.Join(err, merr); err != nil {
			return err
		}
		_, cerr := f.Store.Commit(ctx, []store.Check{{Key: es[i].Key, Rev: es[i].Rev}}, []store.Write{{Key: es[i].Key, Value: value}})
		if cerr != nil && !errors.Is(cerr, store.ErrConflict) {
			return cerr
		}
	}
	return err
}

// Lost reports whether a node was not heard of for too long.
func (m *Member) Lost(now time.Time) bool { return m.silence(now) > lostAfter }

// silence is for how long a node was not heard of.
func (m *Member) silence(now time.Time) time.Duration { return now.Sub(m.Seen.Add(-m.Clock)) }

// Members are all lives of nodes that were heard of within a day, this one included, in the
// order of their names.
func (f *Fleet) Members(ctx context.Context) ([]Member, error) {
	members, _, _, err := f.rows(ctx)
	if err != nil {
		return nil, err
	}
	out := []Member{f.self(ctx)}
	for i := range members {
		if m := &members[i]; m.ID != f.ID && m.silence(f.Now()) < forgetAfter {
			out = append(out, *m)
		}
	}
	sortMembers(out)
	return out, nil
}

// forget removes the rows of nodes that have been lost for a day, and of lost ones whose
// place another life has taken.
func (f *Fleet) forget(ctx context.Context) error {
	members, es, damaged, err := f.rows(ctx)
	if err != nil {
		return err
	}
	var old []store.Entry
	for i := range members {
		m := &members[i]
		replaced := (m.Ended || f.successor(m, members) != nil) && (f.Alone || m.Lost(f.Now()))
		past := m.silence(f.Now()) >= forgetAfter && (f.Alone || f.dead(m, es[i]))
		if m.ID != f.ID && (replaced || past) {
			old = append(old, es[i])
		}
	}
	for _, e := range damaged {
		if f.silentFor(e) >= forgetAfter {
			old = append(old, e)
		}
	}
	for _, e := range old {
		_, err := f.Store.Commit(ctx, []store.Check{{Key: e.Key, Rev: e.Rev}}, []store.Write{{Key: e.Key, Delete: true}})
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}
