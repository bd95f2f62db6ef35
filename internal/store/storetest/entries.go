package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

func testEntries(t *testing.T, cfg Config) {
	f := start(t, cfg)
	f.wantAbsent("a")
	f.want("a", "1", f.set("a", "1"))
	f.want("a", "", f.set("a", ""))
	if e := f.get("a"); !e.Exists() {
		t.Error("an empty value reads as absent")
	}
	binary := string([]byte{0, 1, 0xfe, 0xff})
	f.want(binary, binary, f.set(binary, binary))
	f.commit(nil, del("a"))
	f.wantAbsent("a")
	f.commit(nil, del("never"))
	f.wantAbsent("never")
}

func testRevisions(t *testing.T, cfg Config) {
	f := start(t, cfg)
	seen := map[store.Rev]bool{0: true}
	last := store.Rev(0)
	for i := range 20 {
		var rev store.Rev
		if i%3 == 2 {
			rev = f.commit(nil, del("k"))
		} else {
			rev = f.set("k", "same")
			f.want("k", "same", rev)
		}
		if seen[rev] || rev < last {
			t.Fatalf("commit %d has revision %d after %d", i, rev, last)
		}
		seen[rev], last = true, rev
	}
	rev := f.commit(nil, put("x", "1"), put("y", "2"))
	f.want("x", "1", rev)
	f.want("y", "2", rev)
	if now := f.commit([]store.Check{{Key: "x", Rev: rev}}); now < rev {
		t.Errorf("a commit without writes returned %d, behind %d", now, rev)
	}
}

func testChecks(t *testing.T, cfg Config) {
	f := start(t, cfg)
	try := func(key string, rev store.Rev) error {
		_, err := f.Commit(t.Context(), []store.Check{{Key: key, Rev: rev}}, []store.Write{put("w", "x")})
		return err
	}
	first := f.set("k", "1")
	f.wantErr(try("k", 0), store.ErrConflict)
	f.wantErr(try("k", first+1), store.ErrConflict)
	f.wantErr(try("absent", first), store.ErrConflict)
	f.wantAbsent("w")
	second := f.set("k", "1")
	f.wantErr(try("k", first), store.ErrConflict)
	f.wantErr(try("k", second), nil)
	f.wantErr(try("absent", 0), nil)
	f.commit(nil, del("k"))
	f.wantErr(try("k", second), store.ErrConflict)
	f.wantErr(try("k", 0), nil)
	f.set("k", "1")
	f.wantErr(try("k", second), store.ErrConflict)
	_, err := f.Commit(t.Context(), []store.Check{{Key: "k", Rev: second}}, nil)
	f.wantErr(err, store.ErrConflict)
}

func testAtomicity(t *testing.T, cfg Config) {
	f := start(t, cfg)
	rev := f.set("a", "old")
	before := f.sync()
	checks := []store.Check{{Key: "a", Rev: rev}, {Key: "b", Rev: rev}}
	_, err := f.Commit(t.Context(), checks, []store.Write{put("a", "new"), put("c", "new"), del("d")})
	f.wantErr(err, store.ErrConflict)
	f.want("a", "old", rev)
	f.wantAbsent("c")
	after := f.set("e", "1")
	feed := f.watch(before)
	f.wantNext(feed, after, "e") // nothing of the conflict was reported
}

// testWriteSkew has two transactions read both keys and each write one: on a
// state that both read, only one may commit.
func testWriteSkew(t *testing.T, cfg Config) {
	f := start(t, cfg)
	for range 20 {
		a, b := f.set("a", "on"), f.set("b", "on")
		checks := []store.Check{{Key: "a", Rev: a}, {Key: "b", Rev: b}}
		errs := make(chan error, 2)
		for _, key := range []string{"a", "b"} {
			go func() {
				_, err := f.Commit(t.Context(), checks, []store.Write{put(key, "off")})
				errs <- err
			}()
		}
		one, two := <-errs, <-errs
		if (one == nil) == (two == nil) || !errors.Is(errors.Join(one, two), store.ErrConflict) {
			t.Fatalf("two transactions on one state returned %v and %v", one, two)
		}
	}
}

func testRanges(t *testing.T, cfg Config) {
	f := start(t, cfg)
	revs := map[string]store.Rev{}
	for _, k := range []string{"b", "a/2", "a/1", "a", "a/10", "a0", "A"} {
		revs[k] = f.set(k, "v"+k)
	}
	f.wantKeys(store.Range{}, "A", "a", "a/1", "a/10", "a/2", "a0", "b")
	f.wantKeys(store.Prefix("a/"), "a/1", "a/10", "a/2")
	f.wantKeys(store.Range{Start: "a/1", End: "a/2"}, "a/1", "a/10")
	f.wantKeys(store.Range{Start: "a0"}, "a0", "b")
	f.wantKeys(store.Range{End: "a/1"}, "A", "a")
	f.wantKeys(store.Range{Start: "b", End: "a"})
	f.wantKeys(store.Range{Start: "a", End: "a"})
	f.wantKeys(store.Range{Start: "c"})
	f.wantKeys(store.Prefix("zz"))
	page := store.Prefix("a/")
	page.Limit = 2
	f.wantKeys(page, "a/1", "a/10")
	f.wantKeys(page.After("a/10"), "a/2")
	f.wantKeys(page.After("a/2"))
	for _, keysOnly := range []bool{false, true} {
		for _, e := range f.list(store.Range{KeysOnly: keysOnly}) {
			if keysOnly != (e.Value == nil) || e.Rev != revs[e.Key] || !keysOnly && string(e.Value) != "v"+e.Key {
				t.Errorf("List, KeysOnly %v: %q = %q at %d, want it at %d", keysOnly, e.Key, e.Value, e.Rev, revs[e.Key])
			}
		}
	}
	f.commit(nil, del("a/10"))
	f.wantKeys(store.Prefix("a/"), "a/1", "a/2")
}

func testRangeEnds(t *testing.T, cfg Config) {
	f := start(t, cfg)
	keys := []string{"a", "a\x00", "a\xfe", "a\xff", "a\xff\x00", "a\xff\xff", "b", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\x01"}
	for _, k := range keys {
		f.set(k, "v")
	}
	f.wantKeys(store.Prefix("a\xff"), "a\xff", "a\xff\x00", "a\xff\xff")
	f.wantKeys(store.Prefix("a\xff\xff"), "a\xff\xff")
	f.wantKeys(store.Prefix("a"), keys[:6]...)
	f.wantKeys(store.Prefix("\xff"), keys[7:]...)
	f.wantKeys(store.Prefix("\xff\xff"), keys[9:]...)
	f.wantKeys(store.Prefix(""), keys...)
	f.wantKeys(store.Prefix("a").After("a"), keys[1:6]...)
}

func testLimits(t *testing.T, cfg Config) {
	f := start(t, cfg)
	value := strings.Repeat("v", store.MaxCommitBytes/store.MaxWrites-16)
	var writes []store.Write
	var checks []store.Check
	for i := range store.MaxWrites {
		key := fmt.Sprintf("many/%03d", i)
		writes = append(writes, put(key, value))
		checks = append(checks, store.Check{Key: key})
	}
	rev := f.commit(checks, writes...)
	got := f.list(store.Prefix("many/"))
	if len(got) != store.MaxWrites {
		t.Fatalf("a commit of %d writes left %d entries", store.MaxWrites, len(got))
	}
	for _, e := range got {
		if e.Rev != rev || string(e.Value) != value {
			t.Fatalf("%q is not what was written", e.Key)
		}
	}
	long := strings.Repeat("k", store.MaxKeyBytes)
	big := strings.Repeat("b", store.MaxCommitBytes-len(long))
	f.want(long, big, f.set(long, big))
	room := strings.Repeat("r", store.LayerWriteBytes)
	tooLarge := [][]store.Write{
		append(writes, put("more", "")),
		{put(long+room[:store.LayerKeyBytes]+"k", "")},
		{put(long, big+room+"b")},
		{put("k", big), put("l", value)},
	}
	for i, writes := range tooLarge {
		if _, err := f.Commit(t.Context(), nil, writes); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("commit %d beyond the limits returned %v", i, err)
		}
	}
	f.want(long, big, f.get(long).Rev)
}

func testInvalid(t *testing.T, cfg Config) {
	f := start(t, cfg)
	for i, writes := range [][]store.Write{
		{put("", "v")}, {put("a", "1"), put("a", "2")}, {put("a", "1"), put("b", "2"), del("a")},
	} {
		if _, err := f.Commit(t.Context(), nil, writes); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("malformed commit %d returned %v", i, err)
		}
	}
	_, err := f.Commit(t.Context(), []store.Check{{}}, []store.Write{put("a", "1")})
	f.wantErr(err, store.ErrInvalid)
	f.wantKeys(store.Range{})
}

func testCancelled(t *testing.T, cfg Config) {
	f := start(t, cfg)
	f.set("k", "1")
	ctx := cancelled()
	for name, call := range calls(f.Store) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context returned %v", name, err)
		}
	}
	feed := f.watch(0)
	_, err := feed.Next(ctx)
	f.wantErr(err, context.Canceled)
	if c := f.next(feed); c.Keys[0] != "k" {
		t.Errorf("after a cancelled Next the feed reports %q", c.Keys)
	}
	f.set("k", "2") // the store still serves
}

func calls(s store.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, "k"); return err },
		"List":   func(ctx context.Context) error { _, err := s.List(ctx, store.Range{}); return err },
		"Commit": func(ctx context.Context) error { _, err := s.Commit(ctx, nil, []store.Write{put("c", "")}); return err },
		"Watch":  func(ctx context.Context) error { _, err := s.Watch(ctx, 0); return err },
		"Sync":   func(ctx context.Context) error { _, err := s.Sync(ctx); return err },
	}
}

func testClosed(t *testing.T, cfg Config) {
	f := start(t, cfg)
	feed := f.watch(f.set("k", "1"))
	waiting := make(chan error, 1)
	go func() { _, err := feed.Next(t.Context()); waiting <- err }()
	for range 2 {
		f.wantErr(f.Close(), nil)
	}
	f.wantErr(<-waiting, store.ErrClosed)
	for name, call := range calls(f.Store) {
		if err := call(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s on a closed store returned %v", name, err)
		}
	}
}

func testReopen(t *testing.T, cfg Config) {
	f := start(t, cfg)
	a := f.set("a", "1")
	b := f.commit(nil, put("b", "2"), put("gone", "3"))
	deleted := f.commit(nil, del("gone"))
	for range 3 {
		f.reopen()
		f.want("a", "1", a)
		f.want("b", "2", b)
		f.wantAbsent("gone")
		if got := f.sync(); got < deleted {
			t.Errorf("Sync after a reopen = %d, behind %d", got, deleted)
		}
	}
	if again := f.set("gone", "4"); again <= deleted {
		t.Errorf("revision %d after a reopen is not newer than %d", again, deleted)
	}
}

func testSync(t *testing.T, cfg Config) {
	f := start(t, cfg)
	for i := range 50 {
		rev := f.set("k", fmt.Sprint(i))
		if got := f.sync(); got < rev {
			t.Fatalf("Sync = %d after commit %d was acknowledged", got, rev)
		}
	}
	f.commit(nil, del("never"))
	f.reach(f.watch(0), f.sync())
}

// reach reads the feed until it has reached rev, which Sync returned.
func (f *fixture) reach(feed store.Feed, rev store.Rev) {
	f.Helper()
	for at := store.Rev(0); at < rev; {
		c, err := feed.Next(f.Context())
		if err != nil {
			f.Fatalf("the feed stands at %d and does not reach %d: %v", at, rev, err)
		}
		at = c.Rev
	}
}

// testAliasing changes what it handed in once the commit is made.
func testAliasing(t *testing.T, cfg Config) {
	f := start(t, cfg)
	value := []byte("before")
	writes := []store.Write{{Key: "k", Value: value}}
	if _, err := f.Commit(t.Context(), nil, writes); err != nil {
		t.Fatal(err)
	}
	copy(value, "AFTER!")
	writes[0].Key = "other"
	if e := f.get("k"); !bytes.Equal(e.Value, []byte("before")) {
		t.Errorf("the entry follows the caller's buffer: %q", e.Value)
	}
}
