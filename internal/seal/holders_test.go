package seal

import (
	"errors"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

var oneOfTwo = SlotSpec{Shares: 2, Threshold: 2}

// renewed begins a change and hands in present shares up to the new ones.
func renewed(t *testing.T, ts *Tenants, shares []Share) (made []Share, nonce string) {
	t.Helper()
	c, err := ts.BeginChange(t.Context(), "team", oneOfTwo, api.NewSecret("{}"))
	must(t, err)
	for _, s := range shares[:3] {
		var handed *Change
		handed, made, _, err = ts.HandIn(t.Context(), "team", c.Nonce, false, s.Hex())
		must(t, err)
		nonce = handed.Nonce
	}
	if len(made) != 2 {
		t.Fatalf("%d new shares", len(made))
	}
	return made, nonce
}

// Shares that were made up are no proof, also where who can write to the store has put
// commitments to them into the slot: what is proof is that they open it.
func TestChangeTakesTheSeedForAProof(t *testing.T) {
	phys := mem.Open()
	n, ts, _ := tenant(t, phys)
	made, err := (Shamir{}).Create(t.Context(), "team", threeOfFive)
	must(t, err)
	_, err = ts.BeginChange(t.Context(), "team", oneOfTwo, api.NewSecret("{}"))
	must(t, err)
	slot, err := phys.Get(t.Context(), barrier.NamespaceSlotKey("team"))
	must(t, err)
	w, err := wrapWith(barrier.NamespaceSlot, slot.Key, header{ID: "team", Kind: KindShamir, Params: made.Params}, make([]byte, 32), n.b.ClusterID(), make([]byte, 32))
	must(t, err)
	_, err = phys.Commit(t.Context(), nil, []store.Write{w})
	must(t, err)
	if c, err := ts.Change(t.Context(), "team"); c != nil || err != nil { // it was about another slot
		t.Errorf("it goes on: %+v, %v", c, err)
	}
	c, err := ts.BeginChange(t.Context(), "team", oneOfTwo, api.NewSecret("{}"))
	must(t, err)
	for i, s := range made.Shares[:3] {
		_, got, _, err := ts.HandIn(t.Context(), "team", c.Nonce, false, s.Hex())
		if i == 2 && (!errors.Is(err, store.ErrCorrupt) || got != nil) {
			t.Errorf("shares that do not open the slot made new ones: %v", err)
		}
	}
}

// A change is sealed: what who can write to the store puts there is none, and a copy of the
// row of another namespace is none either.
func TestChangeIsSealed(t *testing.T) {
	phys := mem.Open()
	n, ts, _ := tenant(t, phys)
	must(t, n.b.AddNamespace(t.Context(), "other"))
	_, err := ts.Share(t.Context(), "other", threeOfFive)
	must(t, err)
	_, err = ts.BeginChange(t.Context(), "other", oneOfTwo, api.NewSecret("{}"))
	must(t, err)
	e, err := phys.Get(t.Context(), "core/ns-seal-change/other")
	must(t, err)
	for _, value := range [][]byte{[]byte(`{"version":1,"nonce":"x"}`), e.Value} {
		_, err = phys.Commit(t.Context(), nil, []store.Write{{Key: "core/ns-seal-change/team", Value: value}})
		must(t, err)
		if c, err := ts.Change(t.Context(), "team"); c != nil || err != nil {
			t.Errorf("taken for a change: %+v, %v", c, err)
		}
	}
	_, err = ts.BeginChange(t.Context(), "team", oneOfTwo, api.NewSecret("{}"))
	must(t, err)
}

// Of two nodes that come to the same step at once, one takes it; what the other made is
// nobody's.
func TestChangesRace(t *testing.T) {
	phys := mem.Open()
	n, ts, shares := tenant(t, phys)
	other := NewTenants(n.b, testClock)
	c, err := ts.BeginChange(t.Context(), "team", oneOfTwo, api.NewSecret("{}"))
	must(t, err)
	u, err := ts.turn(t.Context(), "team")
	must(t, err)
	var made []Share
	for _, s := range shares[:3] {
		_, made, _, err = other.HandIn(t.Context(), "team", c.Nonce, false, s.Hex())
		must(t, err)
	}
	if _, got, _, err := ts.advance(t.Context(), u, append([]Share(nil), shares[:3]...)); !errors.Is(err, store.ErrConflict) || got != nil {
		t.Errorf("a second set was made: %v", err)
	}
	c, err = ts.Change(t.Context(), "team")
	must(t, err)
	must(t, ts.CancelChange(t.Context(), "team"))
	_, _, _, err = other.HandIn(t.Context(), "team", c.Nonce, true, made[0].Hex())
	wantErr(t, err, ErrNoCeremony)
	made, nonce := renewed(t, ts, shares)
	_, _, _, err = ts.HandIn(t.Context(), "team", nonce, false, made[0].Hex())
	wantErr(t, err, ErrVerifying)
	_, _, _, err = ts.HandIn(t.Context(), "team", nonce, true, made[0].Hex())
	must(t, err)
	_, _, done, err := ts.HandIn(t.Context(), "team", nonce, true, made[1].Hex())
	if err != nil || !done {
		t.Fatalf("%v %v", done, err)
	}
	must(t, ts.Seal(t.Context(), "team", always))
	_, err = ts.Submit(t.Context(), "team", shares[0].Hex())
	wantErr(t, err, ErrUnknownSet)
	for _, s := range made {
		_, err = ts.Submit(t.Context(), "team", s.Hex())
		must(t, err)
	}
	e, err := n.b.Get(t.Context(), "team/a")
	if err != nil || string(e.Value) != "v" {
		t.Errorf("%q, %v", e.Value, err)
	}
	must(t, n.b.DropNamespace(t.Context(), "team"))
}

// A change that all have forgotten is none after a day, and the old shares work. Dropping
// the namespace takes the slot for the new ones along.
func TestChangeIsForgotten(t *testing.T) {
	phys := mem.Open()
	n, ts, shares := tenant(t, phys)
	_, nonce := renewed(t, ts, shares)
	later := NewTenants(n.b, func() time.Time { return testClock().Add(ceremonyLife) })
	_, _, _, err := later.HandIn(t.Context(), "team", nonce, true, shares[0].Hex())
	wantErr(t, err, ErrNoCeremony)
	if c, err := ts.Change(t.Context(), "team"); c == nil || !c.Made || err != nil { // the control
		t.Errorf("%+v, %v", c, err)
	}
	must(t, n.b.DropNamespace(t.Context(), "team"))
	if e, err := phys.Get(t.Context(), "core/ns-seal-change/team"); err != nil || e.Exists() {
		t.Errorf("the new slot is left, %v", err)
	}
}

// A change that begins while its namespace is dropped leaves nothing.
func TestChangeOfWhatIsDropped(t *testing.T) {
	phys := mem.Open()
	n, ts, _ := tenant(t, phys)
	u, err := ts.turn(t.Context(), "team")
	must(t, err)
	must(t, n.b.DropNamespace(t.Context(), "team"))
	wantErr(t, ts.write(t.Context(), u, &changeRow{Version: ceremonyVersion}), store.ErrConflict)
	if e, err := phys.Get(t.Context(), "core/ns-seal-change/team"); err != nil || e.Exists() {
		t.Errorf("a row is left, %v", err)
	}
}
