package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/strongroom/strongroom/internal/store"
)

// TestSharedNeverAnswersFromBefore starts callers while a round trip that began
// before them is under way: they must all get the next one's answer.
func TestSharedNeverAnswersFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rev atomic.Uint64
		trips, step := 0, make(chan struct{})
		s := store.NewShared(func(context.Context) (store.Rev, error) {
			trips++
			now := rev.Load()
			<-step
			return store.Rev(now), nil
		})
		answers := make(chan store.Rev, 100)
		call := func() {
			r, err := s.Sync(t.Context())
			if err != nil {
				t.Error(err)
			}
			answers <- r
		}
		rev.Store(1)
		go call()
		synctest.Wait()
		rev.Store(2)
		for range 50 {
			go call()
		}
		synctest.Wait()
		step <- struct{}{}
		if r := <-answers; r != 1 {
			t.Errorf("the first caller got %d", r)
		}
		step <- struct{}{}
		for range 50 {
			if r := <-answers; r != 2 {
				t.Fatalf("a caller after commit 2 got %d", r)
			}
		}
		synctest.Wait()
		if trips != 2 || s.Trips() != 2 {
			t.Errorf("51 callers cost %d round trips, want 2; %d were counted", trips, s.Trips())
		}
	})
}

func TestSharedErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := make(chan struct{})
		s := store.NewShared(func(context.Context) (store.Rev, error) { <-step; return 0, errBroken })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { _, err := s.Sync(ctx); ended <- err }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled caller got %v", err)
		}
		close(step)
		if _, err := s.Sync(t.Context()); !errors.Is(err, errBroken) {
			t.Errorf("the round trip's error is lost: %v", err)
		}
	})
}
