package etcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/strongroom/strongroom/internal/store"
)

const (
	defaultRevisions = 500_000
	defaultFor       = 30 * time.Minute
	defaultEvery     = time.Minute
)

func (r Retain) withDefaults() Retain {
	if r.Revisions == 0 {
		r.Revisions = defaultRevisions
	}
	if r.For == 0 {
		r.For = defaultFor
	}
	if r.Every == 0 {
		r.Every = defaultEvery
	}
	return r
}

// compactor knows which revision was the newest at what time.
type compactor struct {
	retain Retain
	past   []moment
}

type moment struct {
	at  time.Time
	rev store.Rev
}

// target is up to which revision to compact at a time when rev is the newest; 0:
// nothing is to be compacted.
func (c *compactor) target(now time.Time, rev store.Rev) store.Rev {
	c.past = append(c.past, moment{now, rev})
	old := store.Rev(0)
	for len(c.past) > 0 && now.Sub(c.past[0].at) >= c.retain.For {
		old = c.past[0].rev
		c.past = c.past[1:]
	}
	if most := store.Rev(c.retain.Revisions); rev > most {
		old = max(old, rev-most)
	}
	return old
}

// compactAlways compacts until the store is closed. That every node does so is no
// harm: etcd refuses what has been done.
func (s *Store) compactAlways() {
	c := &compactor{retain: s.opts.Retain}
	t := time.NewTicker(s.opts.Retain.Every)
	defer t.Stop()
	for done := store.Rev(0); ; {
		select {
		case now := <-t.C:
			done = s.compactOnce(c, now, done)
		case <-s.open.Done():
			return
		}
	}
}

// compactOnce compacts what is due and returns up to where etcd is compacted.
func (s *Store) compactOnce(c *compactor, now time.Time, done store.Rev) store.Rev {
	rev, err := s.Sync(s.open)
	if err != nil {
		return done
	}
	to := s.pins.below(c.target(now, rev))
	if to <= done {
		return done
	}
	if err := s.Compact(s.open, to); err != nil {
		s.opts.Logger.Warn("etcd was not compacted", "error", err)
		return done
	}
	return to
}

// Compact makes etcd forget what was before a revision, whatever a view needs.
func (s *Store) Compact(ctx context.Context, to store.Rev) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	_, err := s.client.Compact(ctx, int64(to))
	if is(err, rpctypes.ErrGRPCCompacted) {
		return nil
	}
	return s.translate(ctx, err)
}
