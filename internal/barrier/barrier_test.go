package barrier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// TestSwaps moves a stored ciphertext to another place in each of the seven
// dimensions, by way of the store below.
func TestSwaps(t *testing.T) {
	b, phys := fresh(t)
	other := mem.Open()
	must(t, New(other, testClock).Initialize(t.Context(), testRoot(1), nil))
	elsewhere := unsealed(t, other)
	must(t, b.AddNamespace(t.Context(), "team"))
	home := "root/mount/kind/path/1"
	set(t, b, home, "secret")
	message := raw(t, phys, "d/"+home)
	moves := []struct {
		dimension string
		to        *Barrier
		key       string
	}{
		{"namespace", b, "team/mount/kind/path/1"},
		{"mount", b, "root/other/kind/path/1"},
		{"type", b, "root/mount/sort/path/1"},
		{"path", b, "root/mount/kind/path2/1"},
		{"version", b, "root/mount/kind/path/2"},
		{"cluster", elsewhere, home},
	}
	for _, m := range moves {
		set(t, m.to.phys, "d/"+m.key, string(message))
		wantDamaged(t, m.to, m.key)
	}
	must(t, b.Rotate(t.Context()))
	relabelled := bytes.Clone(message)
	relabelled[4] = 2
	set(t, phys, "d/root/epoch", string(relabelled))
	wantDamaged(t, b, "root/epoch")
	set(t, phys, "d/"+home, string(relabelled))
	wantDamaged(t, b, home)
	set(t, phys, "d/"+home, string(message))
	want(t, b, home, "secret")
}

func wantDamaged(t *testing.T, b *Barrier, key string) {
	t.Helper()
	e, err := b.Get(t.Context(), key)
	var bad *DamagedError
	if !errors.As(err, &bad) || bad.Key != key || !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("Get(%q) returned %v, want it named as damaged", key, err)
	}
	if e.Value != nil || !e.Exists() || e.Key != key {
		t.Fatalf("Get(%q) = %v beside the error", key, e)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Fatalf("the error holds the value: %v", err)
	}
}

// TestOneFlippedByte damages each byte of one entry in turn: it is named, and
// everything else is served.
func TestOneFlippedByte(t *testing.T) {
	b, phys := fresh(t)
	for _, k := range []string{"root/a", "root/b", "root/c"} {
		set(t, b, k, "secret of "+k)
	}
	good := raw(t, phys, "d/root/b")
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0x40
		set(t, phys, "d/root/b", string(bad))
		wantDamaged(t, b, "root/b")
		wantRest(t, b)
	}
	for n := range good {
		set(t, phys, "d/root/b", string(good[:n]))
		wantDamaged(t, b, "root/b")
	}
	e, err := b.Get(t.Context(), "root/b")
	wantErr(t, err, store.ErrCorrupt)
	_, err = b.Commit(t.Context(), []store.Check{{Key: "root/b", Rev: e.Rev}}, []store.Write{{Key: "root/b", Value: []byte("new")}})
	must(t, err)
	want(t, b, "root/b", "new")
}

func wantRest(t *testing.T, b *Barrier) {
	t.Helper()
	want(t, b, "root/a", "secret of root/a")
	want(t, b, "root/c", "secret of root/c")
	es, err := store.Sub(b, "root/").List(t.Context(), store.Range{})
	wantErr(t, err, store.ErrCorrupt)
	if len(es) != 3 || string(es[0].Value) != "secret of root/a" || es[1].Value != nil || es[1].Key != "b" ||
		string(es[2].Value) != "secret of root/c" {
		t.Fatalf("List beside a damaged entry = %v", es)
	}
	if !strings.Contains(err.Error(), `"root/b"`) || strings.Contains(err.Error(), `"root/a"`) {
		t.Fatalf("List says %v", err)
	}
	es, err = b.List(t.Context(), store.Range{KeysOnly: true})
	if err != nil || len(es) != 3 {
		t.Fatalf("List of keys = %v, %v", es, err)
	}
}

func TestEmptyValueIsNotNil(t *testing.T) {
	b, _ := fresh(t)
	set(t, b, "root/empty", "")
	e, err := b.Get(t.Context(), "root/empty")
	if err != nil || e.Value == nil || len(e.Value) != 0 {
		t.Errorf("an empty value reads as %v, %v", e, err)
	}
}

func TestNothingIsStoredInTheClear(t *testing.T) {
	b, phys := fresh(t)
	set(t, b, "root/a", "a value that is easily found")
	must(t, b.Rotate(t.Context()))
	es, err := phys.List(t.Context(), store.Range{})
	must(t, err)
	s := b.session.Load()
	hidden := [][]byte{[]byte("easily found"), s.root, s.spaces["root"].seed, s.ring.epochs[0].secret, s.ring.epochs[1].secret}
	for _, e := range es {
		for i, h := range hidden {
			if bytes.Contains(e.Value, h) {
				t.Errorf("%q holds secret %d in the clear", e.Key, i)
			}
		}
	}
}

func TestKeysMustNameANamespace(t *testing.T) {
	b, _ := fresh(t)
	for _, key := range []string{"", "root", "/a"} {
		_, err := b.Get(t.Context(), key)
		wantErr(t, err, ErrKey)
		_, err = b.Commit(t.Context(), nil, []store.Write{{Key: key}})
		wantErr(t, err, ErrKey)
	}
	_, err := b.Commit(t.Context(), nil, []store.Write{{Key: "unknown/a"}})
	wantErr(t, err, ErrNoNamespace)
	for _, id := range []string{"", "a/b"} {
		wantErr(t, b.AddNamespace(t.Context(), id), ErrKey)
		wantErr(t, b.DropNamespace(t.Context(), id), ErrKey)
	}
}

// TestSealed sees that no operation works without keys.
func TestSealed(t *testing.T) {
	b, _ := fresh(t)
	set(t, b, "root/a", "1")
	k, err := b.PurposeKey(t.Context(), "root", TokenHash)
	must(t, err)
	message, err := k.Seal(nil, "")
	must(t, err)
	feed, err := b.Watch(t.Context(), 0)
	must(t, err)
	must(t, b.Seal())
	must(t, b.Seal())
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Get":           func() error { _, err := b.Get(ctx, "root/a"); return err },
		"List":          func() error { _, err := b.List(ctx, store.Range{KeysOnly: true}); return err },
		"Commit":        func() error { _, err := b.Commit(ctx, nil, nil); return err },
		"Watch":         func() error { _, err := b.Watch(ctx, 0); return err },
		"Next":          func() error { _, err := feed.Next(ctx); return err },
		"Sync":          func() error { _, err := b.Sync(ctx); return err },
		"AddNamespace":  func() error { return b.AddNamespace(ctx, "x") },
		"DropNamespace": func() error { return b.DropNamespace(ctx, "root") },
		"PurposeKey":    func() error { _, err := b.PurposeKey(ctx, "root", TokenHash); return err },
		"Rotate":        func() error { return b.Rotate(ctx) },
		"Rewrap":        func() error { return b.Rewrap(ctx, nil) },
		"RewrapRoot":    func() error { return b.RewrapRoot(ctx, testRoot(2), nil, nil) },
		"UseRootKey":    func() error { return b.UseRootKey(func([]byte) error { return nil }) },
		"Follow":        func() error { return b.Follow(ctx) },
		"HMAC":          func() error { _, err := k.HMAC(nil); return err },
		"Key.Seal":      func() error { _, err := k.Seal(nil, ""); return err },
		"Key.Open":      func() error { _, err := k.Open(message, ""); return err },
	} {
		if err := call(); !errors.Is(err, ErrSealed) {
			t.Errorf("%s on a sealed barrier returned %v", name, err)
		}
	}
	if !b.Sealed() || b.ClusterID() != "" || b.Status() != (Status{Sealed: true}) {
		t.Errorf("a sealed barrier's status is %+v", b.Status())
	}
	must(t, b.Unseal(ctx, testRoot(1)))
	want(t, b, "root/a", "1")
}

// TestSealEndsWaiting seals under a watcher that waits.
func TestSealEndsWaiting(t *testing.T) {
	b, phys := fresh(t)
	rev, err := phys.Sync(t.Context())
	must(t, err)
	feed, err := b.Watch(t.Context(), rev)
	must(t, err)
	done := make(chan error)
	go func() { _, err := feed.Next(t.Context()); done <- err }()
	must(t, b.Seal())
	wantErr(t, <-done, ErrSealed)
}

// TestSealWipes looks at the memory of the keys as it is given back.
func TestSealWipes(t *testing.T) {
	b, _ := fresh(t)
	must(t, b.Rotate(t.Context()))
	s := b.session.Load()
	zero := make([]byte, KeyBytes)
	for name, key := range map[string][]byte{
		"root key": s.root, "seed": s.spaces["root"].seed, "epoch": s.ring.epochs[1].secret,
	} {
		if bytes.Equal(key, zero) {
			t.Errorf("the %s is zero before sealing", name)
		}
	}
	pages := 0
	release := s.keys.release
	s.keys.release = func(page []byte) error {
		pages++
		if len(bytes.Trim(page, "\x00")) != 0 {
			t.Error("a page is given back with keys in it")
		}
		return release(page)
	}
	must(t, b.Seal())
	if pages == 0 {
		t.Error("no page was given back")
	}
}

func TestMemoryReuse(t *testing.T) {
	m := newMemory()
	for range 3 {
		var kept [][]byte
		for i := range 300 {
			k, err := m.keep(testRoot(byte(i)))
			must(t, err)
			kept = append(kept, k)
		}
		for i, k := range kept {
			if !bytes.Equal(k, testRoot(byte(i))) {
				t.Fatal("two keys share memory")
			}
			m.drop(k)
		}
	}
	if len(m.pages) != 3 {
		t.Errorf("300 keys kept and dropped three times take %d pages, want 3", len(m.pages))
	}
	if _, err := m.keep([]byte("short")); err == nil {
		t.Error("a short key is kept")
	}
	must(t, m.destroy())
}

func TestUnseal(t *testing.T) {
	phys := mem.Open()
	b := New(phys, testClock)
	wantErr(t, b.Unseal(t.Context(), testRoot(1)), ErrNotInitialized)
	if b.Initialize(t.Context(), []byte("short"), nil) == nil {
		t.Error("initialized with a short root key")
	}
	must(t, b.Initialize(t.Context(), testRoot(1), nil))
	wantErr(t, b.Initialize(t.Context(), testRoot(2), nil), ErrInitialized)
	wantErr(t, b.Unseal(t.Context(), testRoot(2)), ErrRootKey)
	if b.Unseal(t.Context(), []byte("short")) == nil || !b.Sealed() {
		t.Error("unsealed with a short root key")
	}
	must(t, b.Unseal(t.Context(), testRoot(1)))
	must(t, b.Unseal(t.Context(), testRoot(1)))
	s := b.Status()
	if s.Sealed || s.Epoch != 1 || !s.Installed.Equal(testTime) || len(s.ClusterID) != 2*clusterBytes {
		t.Errorf("status = %+v", s)
	}
	must(t, b.Close())
	wantErr(t, b.Unseal(t.Context(), testRoot(1)), store.ErrClosed)
}

func TestInitializeOnce(t *testing.T) {
	phys := mem.Open()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = New(phys, testClock).Initialize(context.Background(), testRoot(byte(i)), nil) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		if err == nil && won < 0 {
			won = i
		} else if !errors.Is(err, ErrInitialized) {
			t.Errorf("initializer %d returned %v beside the winner %d", i, err, won)
		}
	}
	must(t, New(phys, testClock).Unseal(t.Context(), testRoot(byte(won))))
}

// TestDamagedCoreRows flips each byte of the barrier's own rows.
func TestDamagedCoreRows(t *testing.T) {
	b, phys := fresh(t)
	set(t, b, "root/a", "1")
	must(t, b.Seal())
	for _, key := range []string{clusterKey, keyRingKey, namespaceKey("root")} {
		good := raw(t, phys, key)
		for at := range good {
			bad := bytes.Clone(good)
			bad[at] ^= 1
			set(t, phys, key, string(bad))
			err := b.Unseal(t.Context(), testRoot(1))
			if key == namespaceKey("root") {
				must(t, err)
				_, err = b.Get(t.Context(), "root/a")
				wantErr(t, err, store.ErrCorrupt)
				must(t, b.Seal())
				continue
			}
			wantErr(t, err, ErrRootKey)
		}
		set(t, phys, key, string(good))
	}
	must(t, b.Unseal(t.Context(), testRoot(1)))
	want(t, b, "root/a", "1")
}

func TestPurposeKeys(t *testing.T) {
	b, phys := fresh(t)
	must(t, b.AddNamespace(t.Context(), "team"))
	sums := map[string]string{}
	for _, ns := range []string{"root", "team"} {
		for _, l := range []Label{TokenHash, AuditHMAC, Fingerprint} {
			sums[ns+string(l)] = purposeSum(t, b, ns, l)
		}
	}
	distinct := map[string]bool{}
	for _, s := range sums {
		distinct[s] = true
	}
	if len(distinct) != len(sums) {
		t.Error("two purposes or namespaces share a key")
	}
	must(t, b.Rotate(t.Context()))
	must(t, b.Rewrap(t.Context(), nil))
	must(t, b.Seal())
	again := unsealed(t, phys)
	for _, l := range []Label{TokenHash, AuditHMAC, Fingerprint} {
		if purposeSum(t, again, "team", l) != sums["team"+string(l)] {
			t.Errorf("%s changed with a rotation", l)
		}
	}
	if _, err := again.PurposeKey(t.Context(), "root", labelEntry); err == nil {
		t.Error("the entries' label is handed out")
	}
	_, err := again.PurposeKey(t.Context(), "unknown", TokenHash)
	wantErr(t, err, ErrNoNamespace)
}

func purposeSum(t *testing.T, b *Barrier, ns string, l Label) string {
	t.Helper()
	k, err := b.PurposeKey(t.Context(), ns, l)
	must(t, err)
	sum, err := k.HMAC(nil, []byte("data"))
	must(t, err)
	return fmt.Sprintf("%x", sum)
}

func TestDropNamespace(t *testing.T) {
	b, phys := fresh(t)
	node := unsealed(t, phys)
	must(t, b.AddNamespace(t.Context(), "team"))
	must(t, b.AddNamespace(t.Context(), "team"))
	set(t, b, "team/a", "1")
	want(t, node, "team/a", "1")
	must(t, b.DropNamespace(t.Context(), "team"))
	must(t, b.DropNamespace(t.Context(), "team"))
	_, err := b.Get(t.Context(), "team/a")
	wantErr(t, err, ErrNoNamespace)
	wantErr(t, b.AddNamespace(t.Context(), "team"), ErrNoNamespace)
	must(t, b.Rewrap(t.Context(), nil))
	_, err = b.Commit(t.Context(), nil, []store.Write{{Key: "team/a", Delete: true}})
	must(t, err)
	feed, err := node.Watch(t.Context(), 0)
	must(t, err)
	drain(t, node, feed)
	_, err = node.Commit(t.Context(), nil, []store.Write{{Key: "team/b"}})
	wantErr(t, err, ErrNoNamespace)
	set(t, b, "root/a", "still")
	want(t, b, "root/a", "still")
}

// drain reads feed up to the present.
func drain(t *testing.T, b *Barrier, feed store.Feed) {
	t.Helper()
	now, err := b.Sync(t.Context())
	must(t, err)
	for at := store.Rev(0); at < now; {
		c, err := feed.Next(t.Context())
		must(t, err)
		for _, k := range c.Keys {
			if strings.HasPrefix(k, "core") {
				t.Errorf("the feed reports %q", k)
			}
		}
		at = c.Rev
	}
}
