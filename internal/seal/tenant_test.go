package seal

import (
	"fmt"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

var threeOfFive = SlotSpec{Kind: KindShamir, Shares: 5, Threshold: 3}

// tenant is a node with a namespace that can be sealed, and its shares.
func always() (bool, error) { return true, nil }

func tenant(t testing.TB, phys store.Store) (*node, *Tenants, []Share) {
	n := newNode(t, phys, keyDir(t))
	n.init(t, fileSpec)
	must(t, n.Unseal(t.Context()))
	must(t, n.b.AddNamespace(t.Context(), "team"))
	_, err := n.b.Commit(t.Context(), nil, []store.Write{{Key: "team/a", Value: []byte("v")}})
	must(t, err)
	ts := NewTenants(n.b, testClock)
	shares, err := ts.Share(t.Context(), "team", threeOfFive)
	must(t, err)
	return n, ts, shares
}

func TestTenantUnseals(t *testing.T) {
	n, ts, shares := tenant(t, mem.Open())
	st, err := ts.Submit(t.Context(), "team", shares[0].Hex())
	if err != nil || st.Sealed || st.Progress != 0 || st.Shares != 5 || st.Threshold != 3 {
		t.Errorf("a share for an open namespace is answered %+v, %v", st, err)
	}
	must(t, ts.Seal(t.Context(), "team", always))
	_, err = n.b.Get(t.Context(), "team/a")
	wantErr(t, err, store.ErrSealed)
	for i, s := range []Share{shares[4], shares[4], shares[1]} {
		st, err := ts.Submit(t.Context(), "team", s.Base64())
		must(t, err)
		if want := []int{1, 1, 2}[i]; !st.Sealed || st.Progress != want || st.Nonce == "" {
			t.Errorf("after share %d: %+v", i, st)
		}
	}
	st, err = ts.Submit(t.Context(), "team", shares[2].Base64())
	if err != nil || st.Sealed || st.Progress != 0 {
		t.Fatalf("with all shares: %+v, %v", st, err)
	}
	e, err := n.b.Get(t.Context(), "team/a")
	if err != nil || string(e.Value) != "v" {
		t.Errorf("after unsealing: %q, %v", e.Value, err)
	}
}

func TestTenantRefusesOtherShares(t *testing.T) {
	n, ts, shares := tenant(t, mem.Open())
	must(t, n.b.AddNamespace(t.Context(), "other"))
	others, err := ts.Share(t.Context(), "other", threeOfFive)
	must(t, err)
	must(t, ts.Seal(t.Context(), "team", always))
	bad := shares[1]
	bad.y[3] ^= 1
	for _, c := range []struct {
		s    Share
		want error
	}{{others[0], ErrUnknownSet}, {bad, ErrWrongShare}} {
		_, err := ts.Submit(t.Context(), "team", c.s.Base64())
		wantErr(t, err, c.want)
	}
	_, err = ts.Submit(t.Context(), "root", shares[0].Base64())
	wantErr(t, err, barrier.ErrNotSealable)
	if st, err := ts.Status(t.Context(), "team"); err != nil || st.Progress != 0 || !st.Sealed {
		t.Errorf("wrong shares count: %+v, %v", st, err)
	}
}

// The holders of a namespace are not replaced behind their backs.
func TestTenantSharesOnce(t *testing.T) {
	_, ts, shares := tenant(t, mem.Open())
	_, err := ts.Share(t.Context(), "team", threeOfFive)
	wantErr(t, err, barrier.ErrShared)
	must(t, ts.Seal(t.Context(), "team", always))
	_, err = ts.Share(t.Context(), "team", threeOfFive)
	wantErr(t, err, barrier.ErrNamespaceSealed)
	for _, s := range shares[:3] {
		_, err = ts.Submit(t.Context(), "team", s.Base64())
		must(t, err)
	}
	if st, err := ts.Status(t.Context(), "team"); err != nil || st.Sealed {
		t.Errorf("with the first shares: %+v, %v", st, err)
	}
}

// Shares of a namespace are forgotten by who says so and after a while; sealing what is sealed leaves them.
func TestTenantForgets(t *testing.T) {
	n, _, shares := tenant(t, mem.Open())
	now := testClock()
	ts := NewTenants(n.b, func() time.Time { return now })
	must(t, ts.Seal(t.Context(), "team", always))
	for name, forget := range map[string]func(){
		"reset": func() { ts.Reset("team") },
		"later": func() { now = now.Add(attemptLife) },
	} {
		st, err := ts.Submit(t.Context(), "team", shares[0].Base64())
		must(t, err)
		must(t, ts.Seal(t.Context(), "team", always))
		if again, err := ts.Status(t.Context(), "team"); err != nil || again != st {
			t.Errorf("%s: sealed twice, %+v, %v", name, again, err)
		}
		forget()
		if st.Progress != 1 {
			t.Errorf("%s: began at %+v", name, st)
		}
		if st, err := ts.Status(t.Context(), "team"); err != nil || st.Progress != 0 || st.Nonce != "" {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

// Shares that wait for very many namespaces, of one tenant, keep those of another's out of neither door.
func TestTenantsKeepNobodyOut(t *testing.T) {
	n, ts, shares := tenant(t, mem.Open())
	for i := range 2000 {
		id := fmt.Sprintf("many%d", i)
		must(t, n.b.AddNamespace(t.Context(), id))
		few, err := ts.Share(t.Context(), id, SlotSpec{Kind: KindShamir, Shares: 2, Threshold: 2})
		must(t, err)
		c, err := ts.BeginChange(t.Context(), id, SlotSpec{Kind: KindShamir, Shares: 2, Threshold: 2}, api.Secret{})
		must(t, err)
		_, _, _, err = ts.HandIn(t.Context(), id, c.Nonce, false, few[0].Hex())
		must(t, err)
		must(t, ts.Seal(t.Context(), id, always))
		_, err = ts.Submit(t.Context(), id, few[0].Hex())
		must(t, err)
	}
	c, err := ts.BeginChange(t.Context(), "team", threeOfFive, api.Secret{})
	must(t, err)
	_, _, _, err = ts.HandIn(t.Context(), "team", c.Nonce, false, shares[0].Hex())
	must(t, err)
	must(t, ts.Seal(t.Context(), "team", always))
	_, err = ts.Submit(t.Context(), "team", shares[0].Hex())
	must(t, err)
}
