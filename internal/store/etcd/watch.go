package etcd

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/strongroom/strongroom/internal/store"
)

// How soon progress is asked for, and asked for again: what is wanted is mostly on
// its way.
const (
	firstNudge = 2 * time.Millisecond
	lastNudge  = 100 * time.Millisecond
)

// epoch is one unbroken history of the store. It ends when the store is closed, and
// when etcd no longer tells what follows.
type epoch struct {
	history *store.History
	at      atomic.Uint64   // all commits up to it are in the history
	open    context.Context // its cause is the error that feeds end with
	end     context.CancelCauseFunc
	feeds   atomic.Int64 // feeds not yet closed
}

func newEpoch(open context.Context, keep int, rev store.Rev) *epoch {
	e := &epoch{history: store.NewHistory(keep, rev)}
	e.at.Store(uint64(rev))
	e.open, e.end = context.WithCancelCause(open)
	return e
}

// append adds commits, after which all up to rev are known.
func (e *epoch) append(rev store.Rev, changes ...store.Change) {
	e.history.Append(changes...)
	e.at.Store(uint64(rev))
}

func (s *Store) current() *epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// follow keeps the watch of this node until the store is closed.
func (s *Store) follow() {
	for pause := firstPause; s.open.Err() == nil; pause = min(2*pause, lastPause) {
		e := s.current()
		if s.followEpoch(e) {
			pause = firstPause
		}
		if wait(e.open, pause) != nil {
			pause = firstPause
		}
	}
}

// followEpoch takes commits from a watch into the history, until the watch or the
// epoch ends. It reports whether anything came.
func (s *Store) followEpoch(e *epoch) (came bool) {
	w := s.watch(e.open, store.Rev(e.at.Load()), "node")
	defer w.end()
	w.nudge = time.NewTimer(time.Hour)
	defer w.nudge.Stop()
	delay := firstNudge
	for {
		select {
		case resp, ok := <-w.responses:
			if !ok || !s.take(e, w, resp) {
				return came
			}
			came, delay = true, firstNudge
			s.rouse(e, w, delay)
		case <-s.wanted:
			s.rouse(e, w, delay)
		case <-w.nudge.C:
			w.ask()
			delay = min(2*delay, lastNudge)
			s.rouse(e, w, delay)
		case <-e.open.Done():
			return came
		}
	}
}

// rouse sets the time at which progress is asked for, when there is need.
func (s *Store) rouse(e *epoch, w *watch, delay time.Duration) {
	s.mu.Lock()
	behind := uint64(s.want) > e.at.Load()
	s.mu.Unlock()
	w.nudge.Stop()
	if behind {
		w.nudge.Reset(delay)
	}
}

// take takes one response of the watch, and reports whether to go on.
func (s *Store) take(e *epoch, w *watch, resp clientv3.WatchResponse) bool {
	at := store.Rev(e.at.Load())
	rev, changes := w.changes(resp)
	switch {
	case resp.CompactRevision > 0:
		s.skip(e, "etcd has compacted what the node had not seen", store.Rev(resp.CompactRevision))
		return false
	case resp.Canceled:
		return false
	case len(resp.Events) > 0 && changes[0].Rev <= at:
		// Progress that overtook a commit, which versions before 3.5.8 report: what
		// feeds have been told is not true.
		s.skip(e, "etcd has reported a commit after its progress beyond it", rev)
		return false
	case rev > at:
		e.append(rev, changes...)
	}
	return true
}

// skip ends a history with a gap, and begins one at the present. Its feeds end with
// ErrCompacted.
func (s *Store) skip(e *epoch, why string, rev store.Rev) {
	s.opts.Logger.Warn("the watch begins anew", "reason", why)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == e {
		s.restart(max(s.seen, rev))
	}
}

// watch is a watch of the store's entries in etcd.
type watch struct {
	store     *Store
	ctx       context.Context
	end       context.CancelFunc
	responses clientv3.WatchChan
	nudge     *time.Timer
}

// watch opens a watch behind a revision. Watches of one name share a stream, on
// which progress is made only once all have caught up. It ends by itself on a member
// that has lost its cluster.
func (s *Store) watch(ctx context.Context, after store.Rev, stream string) *watch {
	w := &watch{store: s}
	w.ctx, w.end = context.WithCancel(metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx), "strongroom-stream", stream))
	w.responses = s.client.Watch(w.ctx, s.data, clientv3.WithPrefix(), clientv3.WithRev(int64(after)+1), clientv3.WithFragment())
	return w
}

// ask asks for progress. An error means that there is no stream just now; who asked
// asks again.
func (w *watch) ask() {
	ctx, cancel := context.WithTimeout(w.ctx, lastNudge)
	defer cancel()
	if err := w.store.client.RequestProgress(ctx); err != nil {
		w.store.opts.Logger.Debug("no progress can be asked for", "error", err)
	}
}

// changes are the commits in a response, of which etcd reports each whole, and the
// revision up to which all are known then; 0: the response says nothing of it.
func (w *watch) changes(resp clientv3.WatchResponse) (store.Rev, []store.Change) {
	if resp.IsProgressNotify() {
		rev := store.Rev(resp.Header.Revision)
		return rev, []store.Change{{Rev: rev}}
	}
	var out []store.Change
	for _, ev := range resp.Events {
		rev, key := store.Rev(ev.Kv.ModRevision), string(ev.Kv.Key[len(w.store.data):])
		if len(out) == 0 || out[len(out)-1].Rev != rev {
			out = append(out, store.Change{Rev: rev})
		}
		c := &out[len(out)-1]
		c.Keys = append(c.Keys, key)
	}
	if len(out) == 0 {
		return 0, nil
	}
	for _, c := range out {
		slices.SortFunc(c.Keys, strings.Compare)
	}
	return out[len(out)-1].Rev, out
}
