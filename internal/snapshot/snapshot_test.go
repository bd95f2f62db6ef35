package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func clock() time.Time { return time.Unix(1_700_000_000, 0).UTC() }

// node is a keeper with what it stands on.
type node struct {
	*Keeper
	share api.Secret // unseals it
}

func newNode(t testing.TB, s store.Engine) *node {
	t.Helper()
	b := barrier.New(s, clock)
	m := seal.NewManager(b, s, seal.Kinds{seal.KindShamir: seal.Shamir{}}, clock)
	t.Cleanup(func() {
		if err := errors.Join(b.Seal(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return &node{Keeper: &Keeper{Store: s, Barrier: b, Seal: m, Version: "1", Engine: "inmem", Now: clock, Log: slog.New(slog.DiscardHandler)}}
}

// source is an initialised, unsealed node with some entries.
func source(t testing.TB, entries int) *node {
	t.Helper()
	n := newNode(t, mem.Open())
	made, err := n.Seal.Init(t.Context(), seal.InitConfig{Slots: []seal.SlotSpec{{Kind: seal.KindShamir, Shares: 1, Threshold: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	n.share = made[0].Handed[0].Base64()
	n.unseal(t, n.share)
	if err := n.Barrier.AddNamespace(t.Context(), rootNamespace); err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		put(t, n.Barrier, fmt.Sprintf("root/entry/%04d", i), strings.Repeat("v", i%50))
	}
	put(t, n.Store, "core/nodes/somebody", `{"id":"somebody"}`)
	return n
}

func put(t testing.TB, s store.Store, key, value string) {
	t.Helper()
	if _, err := s.Commit(context.Background(), nil, []store.Write{{Key: key, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
}

func (n *node) unseal(t testing.TB, share api.Secret) {
	t.Helper()
	if _, err := n.Seal.SubmitShare(t.Context(), share); err != nil {
		t.Fatal(err)
	}
	if n.Barrier.Sealed() {
		t.Fatal("the share did not unseal")
	}
}

func (n *node) saved(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := n.Save(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restore(ctx context.Context, s store.Store, in io.Reader) error {
	return restoreFrom(ctx, s, in, true)
}

func restoreFrom(ctx context.Context, s store.Store, in io.Reader, gone bool) error {
	r, err := framed.NewReader(in)
	if err != nil {
		return err
	}
	_, err = Restore(ctx, s, r, gone, clock)
	return err
}

// contents is what a snapshot of a store holds.
func contents(t testing.TB, s store.Reader) map[string]string {
	t.Helper()
	es, err := s.List(context.Background(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range es {
		if !left(e.Key) {
			out[e.Key] = string(e.Value)
		}
	}
	return out
}

func same(t testing.TB, want, got map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("row %q differs", k)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows, not %d", len(got), len(want))
	}
}

func TestRestoredStoreIsTheSaved(t *testing.T) {
	from := source(t, 500)
	to := newNode(t, mem.Open())
	put(t, to.Store, "core/nodes/me", `{"id":"me"}`)
	if err := restore(t.Context(), to.Store, bytes.NewReader(from.saved(t))); err != nil {
		t.Fatal(err)
	}
	same(t, contents(t, from.Store), contents(t, to.Store))
	if e, err := to.Store.Get(t.Context(), "core/nodes/somebody"); err != nil || e.Exists() {
		t.Errorf("a row of another store's node came along: %v", err)
	}
	if v, err := fleet.Stored(t.Context(), to.Store); err != nil || v != 1 {
		t.Errorf("format %d, %v", v, err)
	}
	to.unseal(t, from.share)
	if err := to.Admit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := Unfinished(t.Context(), to.Store); err != nil {
		t.Error(err)
	}
	e, err := to.Barrier.Get(t.Context(), "root/entry/0033")
	if err != nil || string(e.Value) != strings.Repeat("v", 33) {
		t.Errorf("%q, %v", e.Value, err)
	}
	put(t, to.Barrier, "root/entry/new", "x")
	if err := to.Admit(t.Context()); err != nil { // once it was let in, rows may change
		t.Error(err)
	}
}

// hold is a reader that waits in the middle.
type hold struct {
	io.Reader
	at  int
	fn  func()
	got int
}

func (h *hold) Read(p []byte) (int, error) {
	if h.got >= h.at && h.fn != nil {
		h.fn()
		h.fn = nil
	}
	n, err := h.Reader.Read(p[:min(len(p), 512)])
	h.got += n
	return n, err
}

func TestWritesGoOnWhileASnapshotIsTaken(t *testing.T) {
	from := source(t, 800)
	var model map[string]string
	r, w := io.Pipe()
	var saved bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- errors.Join(from.Save(context.Background(), w), w.Close()) }()
	// The pipe has no room: once the first byte has come the moment is fixed.
	_, err := io.Copy(&saved, &hold{Reader: r, at: 1, fn: func() {
		model = contents(t, from.Store)
		for i := range 400 {
			put(t, from.Barrier, fmt.Sprintf("root/entry/%04d", 2*i), "later")
			put(t, from.Barrier, fmt.Sprintf("root/entry/x%04d", i), "new")
		}
		if _, err := from.Barrier.Commit(context.Background(), nil, []store.Write{{Key: "root/entry/0001", Delete: true}}); err != nil {
			t.Error(err)
		}
	}})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	to := newNode(t, mem.Open())
	if err := restore(t.Context(), to.Store, &saved); err != nil {
		t.Fatal(err)
	}
	same(t, model, contents(t, to.Store))
}

func TestNothingIsRestoredOverData(t *testing.T) {
	from := source(t, 3)
	b := from.saved(t)
	for name, fill := range map[string]func(t *testing.T, n *node){
		"a row":      func(t *testing.T, n *node) { put(t, n.Store, "x", "y") },
		"a cluster":  func(t *testing.T, n *node) { put(t, n.Store, barrier.KeyRing, "y") },
		"a restored": func(t *testing.T, n *node) { mustRestore(t, n, b) },
	} {
		to := newNode(t, mem.Open())
		fill(t, to)
		before := contents(t, to.Store)
		if err := restore(t.Context(), to.Store, bytes.NewReader(b)); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("%s: %v", name, err)
		}
		same(t, before, contents(t, to.Store))
	}
}

func mustRestore(t testing.TB, n *node, b []byte) {
	t.Helper()
	if err := restore(context.Background(), n.Store, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
}

// unusable fails unless a store can be neither initialised nor unsealed.
func unusable(t *testing.T, what string, n *node) {
	t.Helper()
	if done, err := n.Seal.Initialized(t.Context()); done || err != nil {
		t.Fatalf("%s: initialised: %v, %v", what, done, err)
	}
	if err := Unfinished(t.Context(), n.Store); !errors.Is(err, ErrUnfinished) {
		t.Fatalf("%s: not told to be unfinished: %v", what, err)
	}
	_, err := n.Seal.Init(t.Context(), seal.InitConfig{Slots: []seal.SlotSpec{{Kind: seal.KindShamir, Shares: 1, Threshold: 1}}})
	if !errors.Is(err, barrier.ErrRestoring) {
		t.Fatalf("%s: init: %v", what, err)
	}
}

// A snapshot that is cut or changed anywhere leaves a store that cannot be used until
// the intact one is restored, or one that was not touched.
func TestADamagedSnapshotLeavesNoUsableStore(t *testing.T) {
	from := source(t, 4)
	good := from.saved(t)
	to := newNode(t, mem.Open())
	try := func(what string, bad []byte) {
		t.Helper()
		if restore(t.Context(), to.Store, bytes.NewReader(bad)) == nil {
			t.Fatalf("%s: restored", what)
		}
		if len(contents(t, to.Store)) > 0 || Unfinished(t.Context(), to.Store) != nil {
			unusable(t, what, to)
		}
	}
	for n := range good {
		try(fmt.Sprintf("cut after %d", n), good[:n])
	}
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		try(fmt.Sprintf("byte %d", at), bad)
	}
	unusable(t, "in the end", to)
	put(t, to.Store, "d/root/left", "from one of those")
	mustRestore(t, to, good)
	same(t, contents(t, from.Store), contents(t, to.Store))
	to.unseal(t, from.share)
	if err := to.Admit(t.Context()); err != nil {
		t.Error(err)
	}
}

// remake makes a snapshot of other rows, as somebody without keys can.
func remake(t *testing.T, b []byte, change func(rows map[string]string, h *framed.Header, mac []byte) []byte) []byte {
	t.Helper()
	r, err := framed.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	rows, order := map[string]string{}, []string{}
	for {
		k, v, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rows[k], order = string(v), append(order, k)
	}
	h := r.Header()
	_, mac := r.Claim()
	mac = change(rows, &h, mac)
	var out bytes.Buffer
	w, err := framed.NewWriter(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range order {
		if v, ok := rows[k]; ok {
			if err := w.Row(k, []byte(v)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(func([]byte) ([]byte, error) { return mac, nil }); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestOnlyHoldersOfTheKeysMakeSnapshots(t *testing.T) {
	from := source(t, 20)
	older := from.saved(t)
	put(t, from.Barrier, "root/entry/0003", "changed")
	good := from.saved(t)
	same := func(_ map[string]string, _ *framed.Header, mac []byte) []byte { return mac }
	changes := map[string]func(map[string]string, *framed.Header, []byte) []byte{
		"a row less": func(rows map[string]string, _ *framed.Header, mac []byte) []byte {
			delete(rows, "d/root/entry/0003")
			return mac
		},
		"a row's older form": func(rows map[string]string, _ *framed.Header, mac []byte) []byte {
			remake(t, older, func(old map[string]string, _ *framed.Header, mac []byte) []byte {
				rows["d/root/entry/0003"] = old["d/root/entry/0003"]
				return mac
			})
			return mac
		},
		"another header": func(_ map[string]string, h *framed.Header, mac []byte) []byte {
			h.Revision++
			return mac
		},
		"another code": func(map[string]string, *framed.Header, []byte) []byte { return make([]byte, framed.MACBytes) },
		"no namespace's key": func(rows map[string]string, _ *framed.Header, mac []byte) []byte {
			delete(rows, "core/ns/root")
			return mac
		},
		"a namespace's changed": func(rows map[string]string, _ *framed.Header, mac []byte) []byte {
			rows["core/ns/root"] = "x"
			return mac
		},
	}
	try := func(b []byte, meddle func(n *node)) error {
		to := newNode(t, mem.Open())
		mustRestore(t, to, b)
		if meddle != nil {
			meddle(to)
		}
		to.unseal(t, from.share)
		return to.Admit(t.Context())
	}
	if err := try(remake(t, good, same), nil); err != nil {
		t.Fatalf("the control is refused: %v", err)
	}
	for name, change := range changes {
		err := try(remake(t, good, change), nil)
		if !errors.Is(err, ErrForged) || api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := try(good, func(n *node) { put(t, n.Store, "d/root/entry/0003", "since") })
	if !errors.Is(err, ErrForged) {
		t.Errorf("a row that was changed since: %v", err)
	}
}

func TestAnotherFormatIsRefusedUntouched(t *testing.T) {
	b := remake(t, source(t, 3).saved(t), func(_ map[string]string, h *framed.Header, mac []byte) []byte {
		h.Format = fleet.Format + 1
		return mac
	})
	to := newNode(t, mem.Open())
	if err := restore(t.Context(), to.Store, bytes.NewReader(b)); !errors.Is(err, fleet.ErrFormat) {
		t.Errorf("%v", err)
	}
	if es, err := to.Store.List(t.Context(), store.Range{}); err != nil || len(es) > 0 {
		t.Errorf("%d rows were written, %v", len(es), err)
	}
}

func TestRowsThatNoStoreHasAreRefused(t *testing.T) {
	for _, key := range []string{"core/nodes/x", "core/format", barrier.RestoreKey} {
		var b bytes.Buffer
		w, err := framed.NewWriter(&b, framed.Header{Format: 1})
		if err == nil {
			err = errors.Join(w.Row(key, []byte("{}")), w.Close(func([]byte) ([]byte, error) { return make([]byte, framed.MACBytes), nil }))
		}
		if err != nil {
			t.Fatal(err)
		}
		to := newNode(t, mem.Open())
		if err := restore(t.Context(), to.Store, &b); !errors.Is(err, framed.ErrDamaged) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Of two who restore at once the later one wins, and nothing of the earlier is left.
func TestTwoRestoresAtOnce(t *testing.T) {
	first, second := source(t, 2000), source(t, 50)
	to := newNode(t, mem.Open())
	b := first.saved(t)
	err := restore(t.Context(), to.Store, &hold{Reader: bytes.NewReader(b), at: len(b) - 1000, fn: func() { mustOvertake(t, to, second.saved(t)) }})
	if !errors.Is(err, ErrOvertaken) {
		t.Errorf("the first: %v", err)
	}
	same(t, contents(t, second.Store), contents(t, to.Store))
}

func mustOvertake(t testing.TB, to *node, b []byte) {
	t.Helper()
	if err := restore(context.Background(), to.Store, bytes.NewReader(b)); err != nil {
		t.Errorf("the second: %v", err)
	}
}

// full is a store whose disk fills up.
type full struct {
	store.Store
	left int
}

func (f *full) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	if f.left--; f.left < 0 {
		return 0, store.ErrFull
	}
	return f.Store.Commit(ctx, checks, writes)
}

func TestAFullDiskLeavesARestoreThatCanBeDoneAgain(t *testing.T) {
	from := source(t, 2000)
	b := from.saved(t)
	to := newNode(t, mem.Open())
	for _, room := range []int{1, 2, 5} {
		err := restore(t.Context(), &serial{Store: &full{Store: to.Store, left: room}, turn: make(chan struct{}, 1)}, bytes.NewReader(b))
		if !errors.Is(err, store.ErrFull) || !errors.Is(err, ErrUnfinished) {
			t.Fatalf("room for %d commits: %v", room, err)
		}
		unusable(t, "full", to)
	}
	mustRestore(t, to, b)
	same(t, contents(t, from.Store), contents(t, to.Store))
}

// serial commits one after another.
type serial struct {
	store.Store
	turn chan struct{}
}

func (s *serial) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.Store.Commit(ctx, checks, writes)
}

func TestASealedNodeSavesNothing(t *testing.T) {
	n := source(t, 1)
	if err := n.Barrier.Seal(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := n.Save(t.Context(), &b); !errors.Is(err, barrier.ErrSealed) || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}
