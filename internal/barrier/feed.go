package barrier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

// Watch reports the commits of the store below with the entries they wrote. A
// commit that wrote none, such as a rotation, is reported without keys, so that a
// watcher's revision keeps up. Changes that other nodes made to the key ring and
// to namespace keys take effect before Next returns theirs or any later commit;
// what they changed before, which no feed may have told, before Watch returns.
func (b *Barrier) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	s, err := b.current()
	if err != nil {
		return nil, err
	}
	f, err := b.phys.Watch(ctx, after)
	if err != nil {
		return nil, err
	}
	if err := s.startOver(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &feed{Feed: f, session: s}, nil
}

// Follow applies what other nodes change in the key ring and in namespace keys
// until ctx ends or the barrier is sealed. A node on a shared store runs it
// beside its unsealed barrier unless something else reads a feed of Watch.
func (b *Barrier) Follow(ctx context.Context) error {
	for {
		err := b.followOnce(ctx)
		if !errors.Is(err, store.ErrCompacted) {
			return err
		}
	}
}

func (b *Barrier) followOnce(ctx context.Context) error {
	rev, err := b.Sync(ctx)
	if err != nil {
		return err
	}
	f, err := b.Watch(ctx, rev)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Next(ctx)
	}
	return errors.Join(err, f.Close())
}

// startOver drops what may have changed unseen. The store may also have gone back to
// where it lacks epochs that this node has written under, or will: they are put back.
func (s *session) startOver(ctx context.Context) error {
	s.evictAll()
	for range rotateAttempts {
		again, err := s.meetRing(ctx)
		if !again || err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("barrier: the key ring changes too often: %w", store.ErrConflict)
}

// meetRing takes over the stored ring when it has all epochs of this node's. When it is
// this node's as it was before, it writes the epochs that are missing and reports that
// the ring is to be read again.
func (s *session) meetRing(ctx context.Context) (again bool, err error) {
	r, wipe, err := s.loadRing(ctx)
	if err != nil {
		return false, err
	}
	defer wipe()
	var value []byte
	err = s.useRoot(func(root []byte) error {
		if r.extends(s.ring) || !s.ring.extends(r) {
			return nil
		}
		return Erasing(func() (err error) {
			value, err = s.ring.seal(root, s.cluster)
			return err
		})
	})
	switch {
	case err != nil:
		return false, err
	case value == nil:
		return false, s.replaceRing(r)
	}
	return true, s.commitRing(ctx, r.rev, value)
}

// replaceRing adopts a ring whatever its revision: that of a store that has gone back
// is smaller.
func (s *session) replaceRing(r *ring) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead.Load() {
		return ErrSealed
	}
	if !r.extends(s.ring) {
		return ErrRolledBack
	}
	return s.takeOver(r)
}

type feed struct {
	store.Feed
	session *session
	// pending was read from below but could not be applied yet.
	pending *store.Change
}

// Next returns ErrSealed as soon as the barrier is sealed. After an error of
// the store it may be called again, and leaves no commit out.
func (f *feed) Next(ctx context.Context) (store.Change, error) {
	if err := f.wait(ctx); err != nil {
		return store.Change{}, err
	}
	c := *f.pending
	if err := f.session.apply(ctx, c.Keys); err != nil {
		return store.Change{}, err
	}
	f.pending = nil
	return store.Change{Rev: c.Rev, Keys: entryKeys(c.Keys)}, nil
}

// wait fills pending with the next commit of the store below.
func (f *feed) wait(ctx context.Context) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.session.live, cancel)()
	if f.pending == nil {
		c, err := f.Feed.Next(waiting)
		if err == nil {
			f.pending = &c
		} else if !f.session.dead.Load() {
			return err
		}
	}
	if f.session.dead.Load() {
		return ErrSealed
	}
	return nil
}

// entryKeys is the entries among keys, as they are called above. The keys are
// in order, so the entries stand together.
func entryKeys(keys []string) []string {
	from, _ := slices.BinarySearch(keys, entryPrefix)
	to, _ := slices.BinarySearch(keys, store.PrefixEnd(entryPrefix))
	out := make([]string, 0, to-from)
	for _, k := range keys[from:to] {
		out = append(out, k[len(entryPrefix):])
	}
	return out
}

// apply takes over what a commit changed in the barrier's own rows. A seed that
// was only wrapped anew is read again like any other.
func (s *session) apply(ctx context.Context, keys []string) error {
	for _, k := range keys {
		if k == keyRingKey {
			if err := s.reloadRing(ctx); err != nil {
				return err
			}
		}
		if id, ok := strings.CutPrefix(k, namespacePrefix); ok {
			s.evict(id)
		}
	}
	return nil
}
