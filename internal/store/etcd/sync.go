package etcd

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/strongroom/strongroom/internal/store"
)

// errWentBack says that etcd shows an older state than it did: it was restored from
// a backup. Nothing is answered until all that was remembered is dropped, which is
// known when every feed from before is closed.
var errWentBack = errors.New("etcd has gone back to an older state; what was remembered is being dropped")

// askTimeout bounds a round trip, for which all callers wait: a connection that is dead
// is not waited for by those who come later.
const askTimeout = 3 * time.Second

// SyncTrips is how many round trips all calls of Sync have shared.
func (s *Store) SyncTrips() uint64 { return s.shared.Trips() }

// Sync implements store.Store. Concurrent callers share a round trip.
func (s *Store) Sync(ctx context.Context) (store.Rev, error) {
	var rev store.Rev
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		rev, err = s.shared.Sync(ctx)
		return err
	})
	return rev, err
}

// ask makes one round trip: a linearizable read that finds nothing, whose answer
// carries the revision.
func (s *Store) ask(ctx context.Context) (store.Rev, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, askTimeout)
	defer stop()
	before := s.newest()
	got, err := s.client.Get(ctx, s.opts.Prefix+"sync", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return s.observe(before, got.Header)
}

func (s *Store) newest() store.Rev {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// observe takes note of an answer's revision. before is what was the newest when the
// question was sent: an answer that is older is of an etcd that has gone back.
func (s *Store) observe(before store.Rev, h *pb.ResponseHeader) (store.Rev, error) {
	rev := store.Rev(h.Revision)
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev < before && s.seen >= before || s.cluster != 0 && h.ClusterId != s.cluster {
		s.lose(rev)
		s.seen = 0
	}
	s.cluster = h.ClusterId
	s.seen = max(s.seen, rev)
	s.need(rev)
	return rev, s.remembered()
}

// lose ends the history for an etcd that has gone back to rev; the lock is held.
func (s *Store) lose(rev store.Rev) {
	s.opts.Logger.Error("etcd has gone back to an older state", "revision", uint64(rev), "before", uint64(s.seen))
	s.former = append(s.former, s.epoch)
	s.restart(rev)
}

// restart begins a new history after rev; the lock is held.
func (s *Store) restart(rev store.Rev) {
	s.epoch.end(store.ErrCompacted)
	s.epoch = newEpoch(s.open, s.opts.KeepCommits, rev)
	s.want = rev
}

// remembered is errWentBack while a feed from before is open; the lock is held.
func (s *Store) remembered() error {
	for len(s.former) > 0 {
		if s.former[0].feeds.Load() > 0 {
			return errWentBack
		}
		s.former = s.former[1:]
	}
	return nil
}

// need makes feeds reach rev, whether or not there is a commit of ours at it; the
// lock is held.
func (s *Store) need(rev store.Rev) {
	if rev <= s.want {
		return
	}
	s.want = rev
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}
