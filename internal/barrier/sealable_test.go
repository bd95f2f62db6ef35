package barrier

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// holders wraps a seed under a key of its own, as package seal does.
type holders struct{ key *Key }

func newHolders(t testing.TB) holders {
	k, err := DeriveKey(bytes.Repeat([]byte{7}, KeyBytes), "salt", NamespaceSlot)
	must(t, err)
	return holders{k}
}

func (h holders) wrap(seed []byte) ([]byte, error) { return h.key.Seal(seed, "slot") }

func (h holders) open(slot store.Entry) ([]byte, error) { return h.key.Open(slot.Value, "slot") }

// tenants is a barrier with a namespace that can be sealed, one below it, and one
// beside it, with an entry in each.
func tenants(t testing.TB, phys store.Store) (*Barrier, holders) {
	b, h := unsealed(t, phys), newHolders(t)
	must(t, b.AddNamespace(t.Context(), "top"))
	must(t, b.AddNamespace(t.Context(), "beside"))
	must(t, b.ShareNamespace(t.Context(), "top", h.wrap))
	must(t, b.AddNamespaceBelow(t.Context(), "low", "top"))
	for _, ns := range []string{"top", "low", "beside"} {
		set(t, b, ns+"/a", ns)
	}
	return b, h
}

func ordered() (bool, error) { return true, nil }

// Somebody who carries an order out late takes no key away that was put back since.
func TestWithdrawnOrderSealsNothing(t *testing.T) {
	b, h := tenants(t, mem.Open())
	asked := 0
	must(t, b.SealNamespace(t.Context(), "top", func() (bool, error) {
		if asked++; asked == 1 { // it is carried out by another node, and withdrawn, before this one goes on
			must(t, b.SealNamespace(t.Context(), "top", ordered))
			must(t, b.UnsealNamespace(t.Context(), "top", h.open))
			return true, nil
		}
		return false, nil
	}))
	if want(t, b, "top/a", "top"); asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func TestSealNamespace(t *testing.T) {
	phys := mem.Open()
	b, h := tenants(t, phys)
	other := unsealed(t, phys)
	rev, err := other.Sync(t.Context())
	must(t, err)
	feed, err := other.Watch(t.Context(), rev)
	must(t, err)
	want(t, other, "low/a", "low") // it knows the keys
	must(t, b.SealNamespace(t.Context(), "top", ordered))
	must(t, b.SealNamespace(t.Context(), "top", ordered)) // which writes nothing
	seen(t, feed)
	third := unsealed(t, phys) // it has never known them
	for i, n := range []*Barrier{b, other, third} {
		for _, ns := range []string{"top", "low"} {
			if _, err := n.Get(t.Context(), ns+"/a"); !errors.Is(err, store.ErrSealed) {
				t.Errorf("node %d reads %s of a sealed namespace: %v", i, ns, err)
			}
			if _, err := n.Commit(t.Context(), nil, []store.Write{{Key: ns + "/b", Value: []byte("x")}}); !errors.Is(err, store.ErrSealed) {
				t.Errorf("node %d writes to %s, which is sealed: %v", i, ns, err)
			}
			if _, err := n.PurposeKey(t.Context(), ns, TokenHash); !errors.Is(err, store.ErrSealed) {
				t.Errorf("node %d has a key of %s, which is sealed: %v", i, ns, err)
			}
		}
		want(t, n, "beside/a", "beside")
	}
	wantErr(t, b.UnsealNamespace(t.Context(), "top", func(store.Entry) ([]byte, error) { return nil, ErrOpen }), ErrOpen)
	must(t, b.UnsealNamespace(t.Context(), "top", h.open))
	seen(t, feed)
	for _, n := range []*Barrier{b, other, third} {
		want(t, n, "top/a", "top")
		want(t, n, "low/a", "low")
	}
}

// seen has a node apply the next commit.
func seen(t testing.TB, f store.Feed) {
	t.Helper()
	_, err := f.Next(t.Context())
	must(t, err)
}

// The key ring alone, which is all that the operator of the server has, does not open
// a sealed namespace, nor does an old slot after its namespace was dropped.
func TestSealedNamespaceTakesItsHolders(t *testing.T) {
	b, h := tenants(t, mem.Open())
	wantErr(t, b.ShareNamespace(t.Context(), "top", h.wrap), ErrShared)
	must(t, b.SealNamespace(t.Context(), "top", ordered))
	if row := raw(t, b.phys, namespaceKey("top")); string(row) != sealedMark {
		t.Errorf("the key row of a sealed namespace holds %q", row)
	}
	wantErr(t, b.AddNamespace(t.Context(), "top"), ErrNamespaceSealed)
	wantErr(t, b.AddNamespaceBelow(t.Context(), "new", "top"), ErrNamespaceSealed)
	wantErr(t, b.ShareNamespace(t.Context(), "top", h.wrap), ErrNamespaceSealed)
	must(t, b.DropNamespace(t.Context(), "top"))
	if _, _, err := b.NamespaceSlot(t.Context(), "top"); !errors.Is(err, ErrNotSealable) {
		t.Errorf("a dropped namespace keeps its slot: %v", err)
	}
	wantErr(t, b.UnsealNamespace(t.Context(), "top", h.open), ErrNotSealable)
	wantErr(t, b.SealNamespace(t.Context(), "beside", ordered), ErrNotSealable)
}

// A rotation and its rewrap pass a sealed namespace over, and one after it was
// unsealed brings it under the newest epoch.
func TestRewrapPassesSealedNamespaces(t *testing.T) {
	b, h := tenants(t, mem.Open())
	must(t, b.SealNamespace(t.Context(), "top", ordered))
	must(t, b.Rotate(t.Context()))
	must(t, b.Rewrap(t.Context(), nil))
	must(t, b.UnsealNamespace(t.Context(), "top", h.open))
	want(t, b, "low/a", "low")
	must(t, b.Rewrap(t.Context(), nil))
	for _, key := range []string{"d/top/a", "d/low/a", "d/beside/a", namespaceKey("top"), namespaceKey("low")} {
		_, _, message := cutAbove(raw(t, b.phys, key))
		if n, err := messageID(message); err != nil || n != b.Status().Epoch {
			t.Errorf("%s is under epoch %d, %v", key, n, err)
		}
	}
	want(t, b, "low/a", "low")
}

// A key row that is moved, or told to lie below another namespace, opens nothing.
func TestKeyRowsStayWhereTheyAre(t *testing.T) {
	b, _ := tenants(t, mem.Open())
	low, top := raw(t, b.phys, namespaceKey("low")), raw(t, b.phys, namespaceKey("top"))
	for name, row := range map[string][]byte{
		"without its mark":  low[bytes.LastIndexByte(low[:len(aboveMark)+4], 0)+1:],
		"below another":     slices.Concat([]byte(aboveMark+"beside\x00"), low[len(aboveMark)+4:]),
		"below nothing":     slices.Concat([]byte(aboveMark+"\x00"), low[len(aboveMark)+4:]),
		"below itself":      slices.Concat([]byte(aboveMark+"low\x00"), low[len(aboveMark)+4:]),
		"that of its above": top,
		"cut":               []byte(aboveMark),
	} {
		set(t, b.phys, namespaceKey("low"), string(row))
		b.session.Load().evictAll()
		if _, err := b.Get(t.Context(), "low/a"); err == nil {
			t.Errorf("%s: a row is read all the same", name)
		}
	}
	set(t, b.phys, namespaceKey("low"), string(low))
	b.session.Load().evictAll()
	want(t, b, "low/a", "low")
}
