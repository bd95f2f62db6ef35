package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func testClock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// node is one server's manager and barrier on a store.
type node struct {
	*Manager
	b   *barrier.Barrier
	dir string
}

func newNode(t testing.TB, phys store.Store, dir string) *node {
	b := barrier.New(phys, testClock)
	t.Cleanup(func() { must(t, b.Seal()) })
	kinds := Kinds{KindShamir: Shamir{}, KindFile: File{Dir: dir}}
	return &node{NewManager(b, phys, kinds, testClock), b, dir}
}

// keyDir is the name of a directory that is not there yet.
func keyDir(t testing.TB) string { return filepath.Join(t.TempDir(), "keys") }

var (
	fileSpec   = SlotSpec{Kind: KindFile, Name: "local"}
	shamirSpec = SlotSpec{Kind: KindShamir, Name: "operators", Shares: 5, Threshold: 3}
)

func (n *node) init(t testing.TB, specs ...SlotSpec) []NewSlot {
	t.Helper()
	made, err := n.Init(t.Context(), InitConfig{Slots: specs})
	must(t, err)
	return made
}

func (n *node) submit(t testing.TB, s Share) Progress {
	t.Helper()
	p, err := n.SubmitShare(t.Context(), s.Base64())
	must(t, err)
	return p
}

func texts(shares []Share) []api.Secret {
	var out []api.Secret
	for _, s := range shares {
		out = append(out, s.Base64())
	}
	return out
}

func TestFirstStartWithAFile(t *testing.T) {
	phys, dir := mem.Open(), keyDir(t)
	n := newNode(t, phys, dir)
	wantErr(t, n.Unseal(t.Context()), barrier.ErrNotInitialized)
	made := n.init(t, fileSpec)
	if !n.b.Sealed() || made[0].Handed != nil || made[0].Name != "local" || !made[0].Created.Equal(testClock()) {
		t.Errorf("made %+v", made)
	}
	must(t, n.Unseal(t.Context()))
	must(t, n.Unseal(t.Context()))
	must(t, n.TestSlot(t.Context(), made[0].ID))
	must(t, n.b.AddNamespace(t.Context(), "root"))
	must(t, n.Seal())
	again := newNode(t, phys, dir)
	must(t, again.Unseal(t.Context()))
	must(t, again.b.AddNamespace(t.Context(), "root"))
	_, err := again.Init(t.Context(), InitConfig{Slots: []SlotSpec{fileSpec}})
	wantErr(t, err, barrier.ErrInitialized)
}

func TestFileModes(t *testing.T) {
	phys, dir := mem.Open(), keyDir(t)
	n := newNode(t, phys, dir)
	made := n.init(t, fileSpec)
	file := filepath.Join(dir, made[0].ID+keyFileSuffix)
	for path, mode := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, file: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
	for _, c := range []struct {
		path         string
		narrow, wide os.FileMode
	}{{file, 0o600, 0o640}, {file, 0o600, 0o604}, {dir, 0o700, 0o710}, {dir, 0o700, 0o701}} {
		must(t, os.Chmod(c.path, c.wide))
		err := n.Unseal(t.Context())
		wantErr(t, err, ErrMode)
		if !strings.Contains(err.Error(), fmt.Sprintf("chmod %o %s", c.narrow, c.path)) {
			t.Errorf("no remedy in %v", err)
		}
		must(t, os.Chmod(c.path, c.narrow))
	}
	must(t, n.Unseal(t.Context()))
}

func TestFileDamaged(t *testing.T) {
	n := newNode(t, mem.Open(), keyDir(t))
	made := n.init(t, fileSpec)
	file := filepath.Join(n.dir, made[0].ID+keyFileSuffix)
	good, err := os.ReadFile(file)
	must(t, err)
	other := bytes.Replace(good, good[:1], []byte{good[0] ^ 1}, 1)
	for _, bad := range [][]byte{nil, good[:64], good[:40], append(good, '\n'), bytes.Repeat([]byte("x"), 65), other} {
		must(t, os.WriteFile(file, bad, 0o600))
		err := n.Unseal(t.Context())
		if err == nil || !n.b.Sealed() {
			t.Fatalf("unsealed with %q", bad)
		}
		if len(bad) > 0 && strings.Contains(err.Error(), string(bad[:10])) {
			t.Errorf("the error shows the file: %v", err)
		}
	}
	must(t, os.Remove(file))
	wantErr(t, n.Unseal(t.Context()), os.ErrNotExist)
	must(t, os.Symlink("/dev/null", file))
	if n.Unseal(t.Context()) == nil {
		t.Error("a link out of the directory was followed")
	}
	must(t, os.Remove(file))
	must(t, os.WriteFile(file, good, 0o600))
	must(t, n.Unseal(t.Context()))
}

func TestUnsealWithShares(t *testing.T) {
	n := newNode(t, mem.Open(), keyDir(t))
	made := n.init(t, shamirSpec)[0]
	wantErr(t, n.Unseal(t.Context()), barrier.ErrSealed)
	p, err := n.Status(t.Context())
	if len(p.Slots) != 1 || p.Slots[0].ID != made.ID || p.Slots[0].Shares != 5 || p.Slots[0].Threshold != 3 {
		t.Errorf("slots: %+v", p.Slots)
	}
	p.Slots = nil
	if err != nil || !reflect.DeepEqual(p, Progress{Sealed: true, Slot: made.ID, Shares: 5, Threshold: 3}) {
		t.Errorf("before the first share: %+v, %v", p, err)
	}
	one := n.submit(t, made.Handed[4])
	if one.Progress != 1 || len(one.Nonce) != 32 || !one.Sealed {
		t.Errorf("after one: %+v", one)
	}
	if again := n.submit(t, made.Handed[4]); !reflect.DeepEqual(again, one) {
		t.Errorf("handed in twice: %+v", again)
	}
	forged := made.Handed[1]
	forged.y[3] ^= 9
	_, err = n.SubmitShare(t.Context(), forged.Hex())
	wantErr(t, err, ErrWrongShare)
	_, foreign := handedOut(t, 5, 3)
	_, err = n.SubmitShare(t.Context(), foreign.Shares[0].Hex())
	wantErr(t, err, ErrUnknownSet)
	_, err = n.SubmitShare(t.Context(), api.NewSecret("hello"))
	wantErr(t, err, ErrShare)
	if two := n.submit(t, made.Handed[0]); two.Progress != 2 || two.Nonce != one.Nonce {
		t.Errorf("after two and three that do not count: %+v", two)
	}
	if p := n.submit(t, made.Handed[2]); p.Sealed || p.Progress != 0 || n.b.Sealed() {
		t.Errorf("after three: %+v", p)
	}
	if p := n.submit(t, made.Handed[1]); p.Sealed || p.Progress != 0 {
		t.Errorf("when unsealed: %+v", p)
	}
	must(t, n.Seal())
	n.submit(t, made.Handed[0])
	must(t, n.ResetUnseal(t.Context(), made.Handed[4].Hex()))
	if p, err := n.Status(t.Context()); err != nil || p.Progress != 0 || p.Nonce != "" {
		t.Errorf("after a reset: %+v, %v", p, err)
	}
	n.submit(t, made.Handed[0])
	must(t, n.Seal())
	if p, err := n.Status(t.Context()); err != nil || p.Progress != 0 {
		t.Errorf("sealed in the midst of unsealing: %+v, %v", p, err)
	}
}

// TestResetTakesAShare has who has no share try to keep the others from
// unsealing, and a holder start again at once.
func TestResetTakesAShare(t *testing.T) {
	n := newNode(t, mem.Open(), keyDir(t))
	made := n.init(t, shamirSpec)[0]
	must(t, n.Seal())
	at := testClock()
	n.now = func() time.Time { return at }
	n.submit(t, made.Handed[0])
	forged := made.Handed[1]
	forged.y[0] ^= 1
	other := newNode(t, mem.Open(), keyDir(t)).init(t, shamirSpec)[0].Handed[0]
	at = at.Add(resetAfter - 1)
	for _, c := range []struct {
		name string
		text api.Secret
		want error
	}{{"none", api.Secret{}, ErrUnderWay}, {"mistyped", api.NewSecret("garbage"), ErrShare}, {"forged", forged.Hex(), ErrWrongShare}, {"another set's", other.Hex(), ErrUnknownSet}} {
		if err := n.ResetUnseal(t.Context(), c.text); !errors.Is(err, c.want) {
			t.Errorf("with a share that is %s: %v", c.name, err)
		}
	}
	if p := n.submit(t, made.Handed[1]); p.Progress != 2 {
		t.Errorf("after refused resets: %+v", p)
	}
	at = at.Add(resetAfter - 1) // since the second share; the first is older
	wantErr(t, n.ResetUnseal(t.Context(), api.Secret{}), ErrUnderWay)
	at = at.Add(1)
	must(t, n.ResetUnseal(t.Context(), api.Secret{}))
	if p, err := n.Status(t.Context()); err != nil || p.Progress != 0 {
		t.Errorf("after a reset that nobody is in the way of: %+v, %v", p, err)
	}
}

// TestEverySlotUnseals has shares beside a file: each really unseals alone.
func TestEverySlotUnseals(t *testing.T) {
	phys := mem.Open()
	n := newNode(t, phys, keyDir(t))
	n.init(t, fileSpec)
	must(t, n.Unseal(t.Context()))
	added, err := n.AddSlot(t.Context(), shamirSpec)
	must(t, err)
	slots, err := n.ListSlots(t.Context())
	must(t, err)
	if len(slots) != 2 || slots[0].Kind != KindFile || slots[1].ID != added.ID || slots[1].Threshold != 3 || slots[1].Shares != 5 {
		t.Fatalf("slots = %+v", slots)
	}
	must(t, n.TestSlot(t.Context(), added.ID, texts(added.Handed[2:])...))
	if n.TestSlot(t.Context(), added.ID, texts(added.Handed[3:])...) == nil {
		t.Error("a slot passes its test with too few shares")
	}
	twice := texts([]Share{added.Handed[0], added.Handed[0], added.Handed[1]})
	wantErr(t, n.TestSlot(t.Context(), added.ID, twice...), errPlaces)
	without := newNode(t, phys, keyDir(t)) // a machine that has not the file
	if err := without.Unseal(t.Context()); err == nil {
		t.Fatal("unsealed without the file")
	}
	for _, s := range added.Handed[:3] {
		without.submit(t, s)
	}
	if without.b.Sealed() {
		t.Fatal("the shares beside a file do not unseal")
	}
	must(t, without.RemoveSlot(t.Context(), slots[0].ID))
	must(t, n.Seal())
	wantErr(t, n.Unseal(t.Context()), barrier.ErrSealed)
	wantErr(t, without.RemoveSlot(t.Context(), added.ID), ErrLastSlot)
	wantErr(t, without.RemoveSlot(t.Context(), slots[0].ID), ErrNoSlot)
	wantErr(t, without.TestSlot(t.Context(), "nothing"), ErrNoSlot)
}

// TestSlotOfAnotherRootKey tests a slot that opens and holds another root key.
func TestSlotOfAnotherRootKey(t *testing.T) {
	phys := mem.Open()
	n := newNode(t, phys, keyDir(t))
	made := n.init(t, fileSpec)[0]
	must(t, n.Unseal(t.Context()))
	row, err := n.slot(t.Context(), made.ID)
	must(t, err)
	key, err := File{Dir: n.dir}.Recover(t.Context(), row.Params)
	must(t, err)
	w, err := wrapSlot(row.header, key, n.b.ClusterID(), make([]byte, barrier.KeyBytes))
	must(t, err)
	_, err = phys.Commit(t.Context(), nil, []store.Write{w})
	must(t, err)
	wantErr(t, n.TestSlot(t.Context(), made.ID), ErrSlotKey)
	_, err = phys.Commit(t.Context(), nil, []store.Write{{Key: slotPrefix + made.ID, Delete: true}})
	must(t, err)
	wantErr(t, n.TestSlot(t.Context(), made.ID), ErrNoSlot)
}

func TestRemovedFileIsDestroyed(t *testing.T) {
	n := newNode(t, mem.Open(), keyDir(t))
	first := n.init(t, fileSpec)[0]
	must(t, n.Unseal(t.Context()))
	second, err := n.AddSlot(t.Context(), fileSpec)
	must(t, err)
	must(t, n.RemoveSlot(t.Context(), first.ID))
	files, err := os.ReadDir(n.dir)
	must(t, err)
	if len(files) != 1 || files[0].Name() != second.ID+keyFileSuffix {
		t.Errorf("left: %v", files)
	}
	must(t, n.Seal())
	must(t, n.Unseal(t.Context()))
}

func TestSlotsNeedAnUnsealedBarrier(t *testing.T) {
	n := newNode(t, mem.Open(), keyDir(t))
	made := n.init(t, fileSpec)[0]
	_, err := n.AddSlot(t.Context(), shamirSpec)
	wantErr(t, err, barrier.ErrSealed)
	wantErr(t, n.RemoveSlot(t.Context(), made.ID), barrier.ErrSealed)
	wantErr(t, n.TestSlot(t.Context(), made.ID), barrier.ErrSealed)
	if slots, err := n.ListSlots(t.Context()); err != nil || len(slots) != 1 {
		t.Errorf("slots of a sealed barrier: %v, %v", slots, err)
	}
}

func TestRefusedSpecs(t *testing.T) {
	n := newNode(t, mem.Open(), keyDir(t))
	for _, specs := range [][]SlotSpec{
		nil, {{Kind: "moon"}}, {{Kind: KindShamir}}, {fileSpec, {Kind: KindShamir, Shares: 3, Threshold: 4}},
	} {
		if _, err := n.Init(t.Context(), InitConfig{Slots: specs}); err == nil {
			t.Errorf("initialized with %+v", specs)
		}
	}
	if done, err := n.Initialized(t.Context()); done || err != nil {
		t.Errorf("initialized = %v, %v", done, err)
	}
	if files, err := os.ReadDir(n.dir); err == nil && len(files) != 0 {
		t.Errorf("key files are left: %v", files)
	}
}

// TestOneInitWins initializes one store from many nodes at once.
func TestOneInitWins(t *testing.T) {
	phys, dir := mem.Open(), keyDir(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = newNode(t, phys, dir).Init(context.Background(), InitConfig{Slots: []SlotSpec{fileSpec}})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, barrier.ErrInitialized) {
			t.Error(err)
		}
	}
	files, err := os.ReadDir(dir)
	must(t, err)
	if won != 1 || len(files) != 1 {
		t.Errorf("%d winners, %d key files", won, len(files))
	}
	must(t, newNode(t, phys, dir).Unseal(t.Context()))
}

// TestRemovingAtOnce removes both slots from two nodes at once: one stays.
func TestRemovingAtOnce(t *testing.T) {
	for range 20 {
		phys, dir := mem.Open(), keyDir(t)
		n := newNode(t, phys, dir)
		made := n.init(t, fileSpec, fileSpec)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i := range errs {
			other := newNode(t, phys, dir)
			must(t, other.Unseal(t.Context()))
			wg.Go(func() { errs[i] = other.RemoveSlot(context.Background(), made[i].ID) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), ErrLastSlot) {
			t.Fatalf("both removals: %v", errs)
		}
		must(t, n.Unseal(t.Context()))
	}
}

// TestDamagedSlotRows flips every byte of a slot: it does not unseal, is named,
// and the other slot serves.
func TestDamagedSlotRows(t *testing.T) {
	phys := mem.Open()
	n := newNode(t, phys, keyDir(t))
	made := n.init(t, fileSpec, shamirSpec)
	key := slotPrefix + made[0].ID
	e, err := phys.Get(t.Context(), key)
	must(t, err)
	for at := range e.Value {
		bad := bytes.Clone(e.Value)
		bad[at] ^= 1
		_, err := phys.Commit(t.Context(), nil, []store.Write{{Key: key, Value: bad}})
		must(t, err)
		if err := n.Unseal(t.Context()); err == nil || !n.b.Sealed() {
			t.Fatalf("unsealed with byte %d of the slot flipped", at)
		}
		if p := n.submit(t, made[1].Handed[0]); p.Progress != 1 {
			t.Fatalf("the other slot: %+v", p)
		}
	}
	cluster, err := n.b.ReadClusterID(t.Context())
	must(t, err)
	slotKey, err := n.kinds[KindFile].(File).Recover(t.Context(), params(t, e))
	must(t, err)
	for size := range len(e.Value) + 1 {
		r, err := decodeSlot(store.Entry{Key: key, Value: e.Value[:size], Rev: 1})
		if err == nil {
			_, err = r.unwrap(slotKey, cluster)
		}
		if (err == nil) != (size == len(e.Value)) {
			t.Fatalf("a slot cut to %d of %d bytes: %v", size, len(e.Value), err)
		}
	}
	n.submit(t, made[1].Handed[1])
	if p := n.submit(t, made[1].Handed[2]); p.Sealed {
		t.Fatal("the other slot does not unseal")
	}
	wantErr(t, n.TestSlot(t.Context(), made[0].ID), store.ErrCorrupt)
	wantErr(t, n.RemoveSlot(t.Context(), made[0].ID), ErrUntested)
	must(t, n.TestSlot(t.Context(), made[1].ID, texts(made[1].Handed[:3])...))
	must(t, n.RemoveSlot(t.Context(), made[0].ID)) // what is damaged can be cleared away
}

func params(t *testing.T, e store.Entry) json.RawMessage {
	r, err := decodeSlot(e)
	must(t, err)
	return r.Params
}

// TestChangedDirectory puts a removed slot back by way of the store below.
func TestChangedDirectory(t *testing.T) {
	phys := mem.Open()
	n := newNode(t, phys, keyDir(t))
	made := n.init(t, fileSpec, shamirSpec)
	must(t, n.Unseal(t.Context()))
	e, err := phys.Get(t.Context(), directoryKey)
	must(t, err)
	d, err := decodeDirectory(e)
	must(t, err)
	d.Slots = d.Slots[:1]
	value, err := json.Marshal(d)
	must(t, err)
	_, err = phys.Commit(t.Context(), nil, []store.Write{{Key: directoryKey, Value: value}})
	must(t, err)
	_, err = n.AddSlot(t.Context(), fileSpec)
	wantErr(t, err, ErrDirectory)
	wantErr(t, n.RemoveSlot(t.Context(), made[0].ID), ErrDirectory)
	must(t, n.Seal())
	wantErr(t, n.Unseal(t.Context()), ErrDirectory)
	if files, err := os.ReadDir(n.dir); err != nil || len(files) != 1 {
		t.Errorf("key files left: %v, %v", files, err)
	}
}

// TestForgedTest writes that a slot was tested by way of the store below.
func TestForgedTest(t *testing.T) {
	phys := mem.Open()
	n := newNode(t, phys, keyDir(t))
	made := n.init(t, fileSpec, shamirSpec)
	must(t, n.Unseal(t.Context()))
	must(t, n.TestSlot(t.Context(), made[0].ID))
	e, err := phys.Get(t.Context(), directoryKey)
	must(t, err)
	d, err := decodeDirectory(e)
	must(t, err)
	d.Tested = append(d.Tested, made[1].ID)
	value, err := json.Marshal(d)
	must(t, err)
	_, err = phys.Commit(t.Context(), nil, []store.Write{{Key: directoryKey, Value: value}})
	must(t, err)
	wantErr(t, n.RemoveSlot(t.Context(), made[0].ID), ErrDirectory)
}

var errInjected = errors.New("injected")

// faulty fails its first commit once armed, before or after its effect.
type faulty struct {
	store.Store
	armed, after bool
}

func (f *faulty) Commit(ctx context.Context, c []store.Check, w []store.Write) (store.Rev, error) {
	if !f.armed {
		return f.Store.Commit(ctx, c, w)
	}
	f.armed = false
	if f.after {
		if _, err := f.Store.Commit(ctx, c, w); err != nil {
			return 0, err
		}
	}
	return 0, errInjected
}

// TestCrashes cuts each change of the slots short at its one commit: another node
// finds either what was before or what was to be, and can go on.
func TestCrashes(t *testing.T) {
	for _, after := range []bool{false, true} {
		for name, work := range map[string]func(n *node, made []NewSlot) error{
			"add": func(n *node, _ []NewSlot) error { _, err := n.AddSlot(t.Context(), fileSpec); return err },
			"remove": func(n *node, made []NewSlot) error {
				return n.RemoveSlot(t.Context(), made[0].ID)
			},
		} {
			f, dir := &faulty{Store: mem.Open(), after: after}, keyDir(t)
			n := newNode(t, f, dir)
			made := n.init(t, fileSpec, fileSpec)
			must(t, n.Unseal(t.Context()))
			f.armed = true
			wantErr(t, work(n, made), errInjected)
			restarted := newNode(t, f, dir)
			must(t, restarted.Unseal(t.Context()))
			slots, err := restarted.ListSlots(t.Context())
			must(t, err)
			if want := map[string]int{"add": 3, "remove": 1}[name]; after && len(slots) != want || !after && len(slots) != 2 {
				t.Errorf("%s, effect %v: %d slots", name, after, len(slots))
			}
			for _, s := range slots {
				must(t, restarted.TestSlot(t.Context(), s.ID))
			}
			if err := work(restarted, made); err != nil && !errors.Is(err, ErrNoSlot) {
				t.Errorf("%s again: %v", name, err)
			}
		}
	}
}

func TestInitCrashes(t *testing.T) {
	for _, after := range []bool{false, true} {
		f, dir := &faulty{Store: mem.Open(), armed: true, after: after}, keyDir(t)
		_, err := newNode(t, f, dir).Init(t.Context(), InitConfig{Slots: []SlotSpec{fileSpec}})
		wantErr(t, err, errInjected)
		restarted := newNode(t, f, dir)
		done, err := restarted.Initialized(t.Context())
		if err != nil || done != after {
			t.Fatalf("initialized = %v, %v", done, err)
		}
		if !done {
			restarted.init(t, fileSpec)
		}
		must(t, restarted.Unseal(t.Context()))
	}
}
