package barrier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func epochOf(t *testing.T, phys store.Store, key string) uint32 {
	t.Helper()
	n, err := messageID(raw(t, phys, key))
	must(t, err)
	return n
}

func TestRotateAndRewrap(t *testing.T) {
	b, phys := fresh(t)
	for i := range 200 {
		set(t, b, fmt.Sprintf("root/%03d", i), fmt.Sprint(i))
	}
	must(t, b.Rotate(t.Context()))
	set(t, b, "root/new", "new")
	if b.Status().Epoch != 2 || epochOf(t, phys, "d/root/000") != 1 || epochOf(t, phys, "d/root/new") != 2 {
		t.Fatal("a rotation does not reach new entries alone")
	}
	want(t, b, "root/000", "0")
	var last Progress
	steps := 0
	must(t, b.Rewrap(t.Context(), func(p Progress) { last = p; steps++ }))
	if last.Rewrapped != 201 || last.Damaged != 0 || steps < 4 {
		t.Errorf("after %d steps %+v, want 200 entries and a seed rewrapped", steps, last)
	}
	wantAllUnder(t, phys, 2)
	if e, err := phys.Get(t.Context(), progressKey); err != nil || e.Exists() {
		t.Error("the progress outlives the rewrap")
	}
	must(t, b.Seal())
	again := unsealed(t, phys)
	for i := range 200 {
		want(t, again, fmt.Sprintf("root/%03d", i), fmt.Sprint(i))
	}
}

func wantAllUnder(t *testing.T, phys store.Store, epoch uint32) {
	t.Helper()
	for _, prefix := range []string{namespacePrefix, entryPrefix} {
		es, err := phys.List(t.Context(), store.Prefix(prefix))
		must(t, err)
		if len(es) == 0 {
			t.Fatalf("nothing under %q", prefix)
		}
		for _, e := range es {
			if n, err := messageID(e.Value); err != nil || n != epoch {
				t.Fatalf("%q is under epoch %d, %v; want %d", e.Key, n, err, epoch)
			}
		}
	}
}

func TestRewrapNamesDamagedAndGoesOn(t *testing.T) {
	b, phys := fresh(t)
	for i := range 150 {
		set(t, b, fmt.Sprintf("root/%03d", i), fmt.Sprint(i))
	}
	bad := raw(t, phys, "d/root/070")
	bad = append([]byte{}, bad...)
	bad[len(bad)-1] ^= 1
	set(t, phys, "d/root/070", string(bad))
	must(t, b.Rotate(t.Context()))
	var last Progress
	err := b.Rewrap(t.Context(), func(p Progress) { last = p })
	wantErr(t, err, store.ErrCorrupt)
	if !strings.Contains(err.Error(), `"root/070"`) || last.Damaged != 1 || last.Rewrapped != 150 {
		t.Errorf("%+v, %v", last, err)
	}
	if epochOf(t, phys, "d/root/149") != 2 {
		t.Error("the rewrap stopped at a damaged entry")
	}
}

// TestRotateCrashes cuts a rotation short at each commit.
func TestRotateCrashes(t *testing.T) {
	prepare := func(phys store.Store) { set(t, unsealed(t, phys), "root/a", "1") }
	work := func(phys store.Store) func() error {
		b := unsealed(t, phys)
		return func() error { return b.Rotate(t.Context()) }
	}
	crashes := crashEverywhere(t, prepare, work, func(t *testing.T, phys store.Store) {
		b := unsealed(t, phys)
		want(t, b, "root/a", "1")
		before := b.Status().Epoch
		must(t, b.Rotate(t.Context()))
		if got := b.Status().Epoch; got != before+1 || got > 3 {
			t.Errorf("after a crash at epoch %d a rotation leads to %d", before, got)
		}
		set(t, b, "root/b", "2")
		want(t, unsealed(t, phys), "root/a", "1")
		want(t, unsealed(t, phys), "root/b", "2")
	})
	if crashes != 4 { // two commits, each before and after its effect
		t.Errorf("only %d crashes were tried", crashes)
	}
}

// TestRewrapCrashes cuts a rewrap short at each commit, and resumes it.
func TestRewrapCrashes(t *testing.T) {
	const n = 150
	prepare := func(phys store.Store) {
		b := unsealed(t, phys)
		for i := range n {
			set(t, b, fmt.Sprintf("root/%03d", i), fmt.Sprint(i))
		}
		must(t, b.Rotate(t.Context()))
	}
	work := func(phys store.Store) func() error {
		b := unsealed(t, phys)
		return func() error { return b.Rewrap(t.Context(), nil) }
	}
	crashes := crashEverywhere(t, prepare, work, func(t *testing.T, phys store.Store) {
		b := unsealed(t, phys)
		must(t, b.Rewrap(t.Context(), nil))
		wantAllUnder(t, phys, 2)
		for i := range n {
			want(t, b, fmt.Sprintf("root/%03d", i), fmt.Sprint(i))
		}
	})
	if crashes < 8 {
		t.Errorf("only %d crashes were tried", crashes)
	}
}

// TestRewrapResumes sees that a cut-off run goes on where it stopped, and that
// another epoch starts over.
func TestRewrapResumes(t *testing.T) {
	b, _ := fresh(t)
	for i := range 300 {
		set(t, b, fmt.Sprintf("root/%03d", i), fmt.Sprint(i))
	}
	must(t, b.Rotate(t.Context()))
	cutOff := func() (seen int) {
		ctx, cancel := context.WithCancel(t.Context())
		wantErr(t, b.Rewrap(ctx, func(p Progress) { seen = p.Seen; cancel() }), context.Canceled)
		return seen
	}
	first, second := cutOff(), cutOff()
	if first == 0 || second <= first {
		t.Errorf("the first run saw %d rows, the second %d in all", first, second)
	}
	must(t, b.Rotate(t.Context()))
	if again := cutOff(); again != first {
		t.Errorf("under a new epoch it begins after %d rows", again)
	}
}

// TestRewrapUnderWrites runs two rewrappers and rotations beside writers that
// count: no count is lost, and nothing becomes unreadable.
func TestRewrapUnderWrites(t *testing.T) {
	phys := mem.Open()
	b, other := unsealed(t, phys), unsealed(t, phys)
	const keys, rounds = 80, 40
	for i := range keys {
		set(t, b, fmt.Sprintf("root/%03d", i), "")
	}
	var wg sync.WaitGroup
	for w, node := range []*Barrier{b, other} {
		wg.Go(func() { count(t, node, w, keys, rounds) })
	}
	for _, node := range []*Barrier{b, other} {
		wg.Go(func() {
			for range 3 {
				if err := errors.Join(node.Rotate(t.Context()), node.Rewrap(t.Context(), nil)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, b.Rewrap(t.Context(), nil))
	wantAllUnder(t, phys, b.Status().Epoch)
	total := 0
	es, err := unsealed(t, phys).List(t.Context(), store.Prefix("root/"))
	must(t, err)
	for _, e := range es {
		total += len(e.Value)
	}
	if total != 2*rounds*10 {
		t.Errorf("%d increments were kept of %d", total, 2*rounds*10)
	}
}

func count(t *testing.T, b *Barrier, worker, keys, rounds int) {
	for i := range rounds * 10 {
		key := fmt.Sprintf("root/%03d", (i*7+worker)%keys)
		_, err := store.Update(t.Context(), b, func(tx *store.Tx) error {
			e, err := tx.Get(key)
			if err != nil {
				return err
			}
			tx.Put(key, append(append([]byte{}, e.Value...), 'x'))
			return nil
		})
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// TestRotateOnManyNodes rotates on three nodes at once, again and again.
func TestRotateOnManyNodes(t *testing.T) {
	phys := mem.Open()
	nodes := []*Barrier{unsealed(t, phys), unsealed(t, phys), unsealed(t, phys)}
	for round := range 30 {
		before := nodes[round%3].Status().Epoch
		var wg sync.WaitGroup
		for i, n := range nodes {
			wg.Go(func() {
				if err := n.Rotate(t.Context()); err != nil {
					t.Error(err)
				}
				set(t, n, fmt.Sprintf("root/%d/%d", round, i), fmt.Sprint(i))
			})
		}
		wg.Wait()
		for i, n := range nodes {
			if n.Status().Epoch <= before {
				t.Errorf("node %d is still at epoch %d", i, before)
			}
			for j := range nodes { // entries of epochs this node may not know yet
				want(t, n, fmt.Sprintf("root/%d/%d", round, j), fmt.Sprint(j))
			}
		}
	}
}

// TestWatchBringsTheRing sees a rotation of another node take effect through a feed.
func TestWatchBringsTheRing(t *testing.T) {
	b, phys := fresh(t)
	other := unsealed(t, phys)
	feed, err := other.Watch(t.Context(), 0)
	must(t, err)
	drain(t, other, feed)
	must(t, b.Rotate(t.Context()))
	if other.Status().Epoch != 1 {
		t.Fatal("the other node knows before it could")
	}
	drain(t, other, feed)
	if other.Status().Epoch != 2 {
		t.Error("a rotation does not arrive through the feed")
	}
	must(t, feed.Close())
}

func TestFollow(t *testing.T) {
	b, phys := fresh(t)
	watched := &announcing{Store: phys, watching: make(chan struct{}, 1), applied: make(chan struct{}, 100)}
	other := unsealed(t, watched)
	done := make(chan error)
	go func() { done <- other.Follow(t.Context()) }()
	<-watched.watching
	must(t, b.Rotate(t.Context()))
	for other.Status().Epoch != 2 {
		<-watched.applied
	}
	must(t, other.Seal())
	wantErr(t, <-done, ErrSealed)
}

// announcing tells when it is watched and when its feed is asked for more.
type announcing struct {
	store.Store
	watching, applied chan struct{}
}

func (a *announcing) Watch(ctx context.Context, after store.Rev) (store.Feed, error) {
	f, err := a.Store.Watch(ctx, after)
	a.watching <- struct{}{}
	return &announcingFeed{f, a.applied}, err
}

type announcingFeed struct {
	store.Feed
	applied chan struct{}
}

func (f *announcingFeed) Next(ctx context.Context) (store.Change, error) {
	f.applied <- struct{}{}
	return f.Feed.Next(ctx)
}

// TestRollBackIsRefused puts an older key ring back under a running node.
func TestRollBackIsRefused(t *testing.T) {
	b, phys := fresh(t)
	old := raw(t, phys, keyRingKey)
	must(t, b.Rotate(t.Context()))
	set(t, b, "root/a", "1")
	set(t, phys, keyRingKey, string(old))
	wantErr(t, b.Rotate(t.Context()), ErrRolledBack)
	want(t, b, "root/a", "1")
}

func TestRewrapRoot(t *testing.T) {
	b, phys := fresh(t)
	set(t, b, "root/a", "1")
	guard := set(t, phys, "core/slot/x", "old")
	slot := []store.Write{{Key: "core/slot/x", Value: []byte("new")}}
	err := b.RewrapRoot(t.Context(), testRoot(2), []store.Check{{Key: "core/slot/x", Rev: guard - 1}}, slot)
	wantErr(t, err, store.ErrConflict)
	must(t, b.Rotate(t.Context()))
	must(t, b.RewrapRoot(t.Context(), testRoot(2), []store.Check{{Key: "core/slot/x", Rev: guard}}, slot))
	must(t, b.Rotate(t.Context()))
	must(t, b.Seal())
	again := New(phys, testClock)
	wantErr(t, again.Unseal(t.Context(), testRoot(1)), ErrRootKey)
	must(t, again.Unseal(t.Context(), testRoot(2)))
	want(t, again, "root/a", "1")
	if again.Status().Epoch != 3 || string(raw(t, phys, "core/slot/x")) != "new" {
		t.Errorf("status = %+v", again.Status())
	}
	must(t, again.Seal())
}

func FuzzRing(f *testing.F) {
	e, err := newEpoch(1, testTime)
	must(f, err)
	f.Add((&ring{active: 1, epochs: []epoch{e}}).encode())
	f.Add([]byte{ringVersion, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRing(b)
		if err == nil && string(r.encode()) != string(b) {
			t.Errorf("%x decodes to something else", b)
		}
	})
}

// TestStoreThatGoesBack has the store lose a rotation under a running node, as a fail-over
// to a standby that is behind does, or a restore. What the node writes afterwards must be
// readable to who is unsealed later, and it must learn what they rotate to.
func TestStoreThatGoesBack(t *testing.T) {
	phys := &replaced{Store: mem.Open()}
	b := unsealed(t, phys)
	older := mem.Open()
	for range 3 {
		rows, err := phys.List(t.Context(), store.Range{})
		must(t, err)
		for _, e := range rows {
			set(t, older, e.Key, string(e.Value))
		}
	}
	for range 20 {
		must(t, b.Rotate(t.Context()))
	}
	phys.Store = older
	set(t, b, "root/before", "1") // the node does not know yet
	feed, err := b.Watch(t.Context(), 0)
	must(t, err)
	set(t, b, "root/after", "2")
	later := unsealed(t, phys)
	want(t, later, "root/before", "1")
	want(t, later, "root/after", "2")
	must(t, later.Rotate(t.Context()))
	drain(t, b, feed)
	if got := b.Status().Epoch; got != 22 {
		t.Errorf("the node that was there before is at epoch %d, not 22", got)
	}
	must(t, feed.Close())
}

// replaced is a store whose data are replaced under who uses it.
type replaced struct{ store.Store }

// TestRingsThatWentApart has a rotation lost under a running node, and another made
// in its place: the node refuses to go on.
func TestRingsThatWentApart(t *testing.T) {
	b, phys := fresh(t)
	old := raw(t, phys, keyRingKey)
	must(t, b.Rotate(t.Context()))
	set(t, phys, keyRingKey, string(old))
	must(t, unsealed(t, phys).Rotate(t.Context()))
	_, err := b.Watch(t.Context(), 0)
	wantErr(t, err, ErrRolledBack)
}
