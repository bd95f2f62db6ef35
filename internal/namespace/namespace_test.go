package namespace_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

func TestNames(t *testing.T) {
	n := newNode(t, mem.Open())
	n.create(atRoot, "Team-1.x_y")
	n.must(n.enable(namespace.RootID, "Secret/"))
	for name, kind := range map[string]api.Kind{
		"": api.Invalid, "a/b": api.Invalid, "root": api.Invalid, "ROOT": api.Invalid, "Sys": api.Invalid, "auth": api.Invalid,
		".": api.Invalid, "..": api.Invalid, "a b": api.Invalid, "a\x00": api.Invalid, "ä": api.Invalid, "a*": api.Invalid,
		strings.Repeat("n", 129): api.Invalid, "team-1.x_y": api.Conflict, "secret": api.Invalid, "Secret": api.Invalid,
	} {
		_, err := n.spaces.Create(t.Context(), atRoot, name, nil)
		if err == nil || api.KindOf(err) != kind {
			t.Errorf("%q: got %v, want kind %v", name, err, kind)
		}
	}
	if n.find("team-1.x_y") != nil {
		t.Error("found under a name that differs by case")
	}
}

func TestMetadataIsBounded(t *testing.T) {
	n := newNode(t, mem.Open())
	many := map[string]string{}
	for i := range 65 {
		many[strings.Repeat("k", i+1)] = "v"
	}
	for _, md := range []map[string]string{many, {"": "v"}, {strings.Repeat("k", 129): "v"}, {"k": strings.Repeat("v", 513)}} {
		_, err := n.spaces.Create(t.Context(), atRoot, "a", md)
		wantKind(t, err, api.Invalid)
	}
}

func TestDepthIsBounded(t *testing.T) {
	n := newNode(t, mem.Open())
	at := atRoot
	for range 31 {
		at = n.create(at, "a").API()
	}
	_, err := n.spaces.Create(t.Context(), at, "a", nil)
	wantKind(t, err, api.Invalid)
}

func TestCreateAgainReplacesMetadata(t *testing.T) {
	n := newNode(t, mem.Open())
	first := n.create(atRoot, "a")
	second, err := n.spaces.Create(t.Context(), atRoot, "a", map[string]string{"k": "v"})
	n.must(err)
	if second.ID != first.ID || n.find("a").CustomMetadata["k"] != "v" {
		t.Fatalf("%+v then %+v", first, second)
	}
}

func TestFindAndDescend(t *testing.T) {
	n := newNode(t, mem.Open())
	a := n.create(atRoot, "a")
	b := n.create(a.API(), "b")
	for _, path := range []string{"a/b", "/a/b/", "root/a/b"} {
		if got := n.find(path); got == nil || got.ID != b.ID {
			t.Errorf("%q is %+v", path, got)
		}
	}
	for _, path := range []string{"b", "a/c", "A/b", "a/root", "a/b/" + strings.Repeat("x", 5000)} {
		if got := n.find(path); got != nil {
			t.Errorf("%q is %+v", path, got)
		}
	}
	for path, want := range map[string]string{"a/b/secret/x": "secret/x", "a/b": "b", "b/x": "b/x", "a//x": "/x"} {
		_, rest, err := n.spaces.Descend(t.Context(), namespace.Root(), path)
		n.must(err)
		if rest != want {
			t.Errorf("%q leaves %q, want %q", path, rest, want)
		}
	}
}

func TestParentWithChildrenStays(t *testing.T) {
	n := newNode(t, mem.Open())
	a := n.create(atRoot, "a")
	n.create(a.API(), "b")
	_, err := n.spaces.Delete(t.Context(), namespace.RootID, "a")
	wantKind(t, err, api.Invalid)
	if found, err := n.spaces.Delete(t.Context(), namespace.RootID, "A"); found || err != nil {
		t.Fatalf("another name deletes it: %v, %v", found, err)
	}
}

// While a namespace is being deleted it is gone for every use.
func TestDeletingIsGone(t *testing.T) {
	n := newNode(t, mem.Open())
	a := n.create(atRoot, "a")
	for range 2 { // deleting twice records one job
		if found, err := n.spaces.Delete(t.Context(), namespace.RootID, "a"); !found || err != nil {
			t.Fatal(found, err)
		}
	}
	if jobs := n.keys(spaceJobs); len(jobs) != 1 || n.recorded != 1 || n.find("a") != nil {
		t.Fatalf("jobs %v, still found: %v", jobs, n.find("a"))
	}
	_, err := n.spaces.Create(t.Context(), atRoot, "a", nil)
	wantKind(t, err, api.Conflict)
	_, err = n.spaces.Create(t.Context(), a.API(), "b", nil)
	wantKind(t, err, api.NotFound)
	_, err = n.spaces.Describe(t.Context(), namespace.RootID, "a", func(m map[string]string) map[string]string { return m })
	wantKind(t, err, api.NotFound)
	n.must(n.runJobs())
	if left := append(n.keys(a.ID+"/"), n.keys("root/ns")...); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
	_, err = n.spaces.Create(t.Context(), a.API(), "b", nil)
	wantKind(t, err, api.NotFound)
}

// A job that was held up does not touch the namespace that has the name now.
func TestDestroySparesTheNext(t *testing.T) {
	n := newNode(t, mem.Open())
	old := n.create(atRoot, "a")
	_, err := n.spaces.Delete(t.Context(), namespace.RootID, "a")
	n.must(err)
	n.must(n.runJobs())
	next := n.create(atRoot, "a")
	n.must(n.spaces.Destroy(t.Context(), old.ID))
	if err := n.spaces.Destroy(t.Context(), next.ID); err == nil {
		t.Fatal("a namespace that nobody deleted was destroyed")
	}
	if got := n.find("a"); got == nil || got.ID != next.ID {
		t.Fatalf("the name belongs to %+v", got)
	}
}

// Of two nodes that destroy one namespace, the slower spares its successor.
func TestSlowDestroySparesTheNext(t *testing.T) {
	n := newNode(t, mem.Open())
	old := n.create(atRoot, "a")
	_, err := n.spaces.Delete(t.Context(), namespace.RootID, "a")
	n.must(err)
	n.dropping = func() {
		n.must(n.runJobs())
		n.create(atRoot, "a")
	}
	n.must(n.spaces.Destroy(t.Context(), old.ID))
	if got := n.find("a"); got == nil || got.ID == old.ID {
		t.Fatalf("the name belongs to %+v", got)
	}
}

// A namespace deleted while it is being made does not come to life, whether or
// not its destruction has begun.
func TestDeletedWhileBeingMade(t *testing.T) {
	for _, destroyed := range []bool{false, true} {
		n := newNode(t, mem.Open())
		n.furnishing = func() {
			if n.find("a") != nil {
				t.Error("it can be found before it is made")
			}
			_, err := n.spaces.Delete(t.Context(), namespace.RootID, "a")
			n.must(err)
			if destroyed {
				n.must(n.runJobs())
			}
		}
		_, err := n.spaces.Create(t.Context(), atRoot, "a", nil)
		wantKind(t, err, api.Conflict)
		n.must(n.runJobs())
		n.onlyOf()
		if n.find("a") != nil {
			t.Fatal("it lives")
		}
	}
}

// A creation that was overtaken does not bring to life what has its name now and
// is not made yet.
func TestOvertakenCreateSparesTheNext(t *testing.T) {
	n := newNode(t, mem.Open())
	n.furnished = func() {
		_, err := n.spaces.Delete(t.Context(), namespace.RootID, "a")
		n.must(err)
		n.must(n.runJobs())
		cut, cancel := context.WithCancel(t.Context())
		n.furnishing = cancel
		if _, err := n.spaces.Create(cut, atRoot, "a", nil); err == nil {
			t.Error("the second creation was not cut short")
		}
	}
	_, err := n.spaces.Create(t.Context(), atRoot, "a", nil)
	wantKind(t, err, api.Conflict)
	if n.find("a") != nil {
		t.Fatal("a namespace lives that is not made")
	}
	n.create(atRoot, "a")
	n.usable("a")
}

// usable fails unless a namespace can be found and holds what it should.
func (n *node) usable(path string) *namespace.Namespace {
	n.t.Helper()
	ns := n.find(path)
	if ns == nil {
		n.t.Fatalf("%q cannot be found", path)
	}
	table, err := n.mounts.Table(n.t.Context(), ns.ID)
	n.must(err)
	if len(table.Entries(false)) != 3 || len(table.Entries(true)) != 1 {
		n.t.Fatalf("%q lacks mounts", path)
	}
	n.must(n.enable(ns.ID, "kv/"))
	return ns
}

// onlyOf fails when there are rows or keys of namespaces other than those that
// exist.
func (n *node) onlyOf(existing ...string) {
	n.t.Helper()
	known := namespace.RootID + " " + strings.Join(existing, " ")
	for _, k := range n.keys("") {
		if id, _, _ := strings.Cut(k, "/"); !strings.Contains(known, id) {
			n.t.Fatalf("%s belongs to no namespace", k)
		}
	}
	seeds, err := n.phys.List(n.t.Context(), store.Prefix("core/ns/"))
	n.must(err)
	if len(seeds) == 0 {
		n.t.Fatal("no keys were found: they lie elsewhere")
	}
	for _, e := range seeds { // what a destroyed key leaves is shorter than any key
		if id := strings.TrimPrefix(e.Key, "core/ns/"); len(e.Value) >= barrier.KeyBytes && !strings.Contains(known, id) {
			n.t.Fatalf("there is a key of %s, which is no namespace", id)
		}
	}
}

func TestCreateIsKilled(t *testing.T) {
	create := func(n *node) error {
		_, err := n.spaces.Create(t.Context(), atRoot, "a", nil)
		return err
	}
	kills := killEverywhere(t, func(*node) {}, create, func(n *node) {
		if ns := n.find("a"); ns != nil {
			n.usable("a")
		}
		n.must(create(n)) // again, as the caller does who had no answer
		if ns := n.find("a"); len(n.keys("root/ns/")) != 1 || len(n.keys("root/ns-id/")) != 1 {
			t.Fatalf("more than one row for %+v", ns)
		} else {
			n.onlyOf(ns.ID)
		}
		if len(n.find("a").ID) != 6 {
			t.Fatal("an odd identifier")
		}
	})
	if kills < 6 {
		t.Fatalf("only %d kills: the work takes more commits", kills)
	}
}

// What a kill leaves of a creation can also be deleted.
func TestKilledCreateCanBeDeleted(t *testing.T) {
	killEverywhere(t, func(*node) {}, func(n *node) error {
		_, err := n.spaces.Create(t.Context(), atRoot, "a", nil)
		return err
	}, func(n *node) {
		_, err := n.spaces.Delete(t.Context(), namespace.RootID, "a")
		n.must(err)
		n.must(n.runJobs())
		n.onlyOf()
		n.must(n.enable(namespace.RootID, "a/"))
	})
}

func TestDeleteIsKilled(t *testing.T) {
	var id string
	prepare := func(n *node) {
		id = n.usable(strings.TrimSuffix(n.create(atRoot, "a").Path, "/")).ID
		var writes []store.Write
		for i := range 90 {
			writes = append(writes, store.Write{Key: id + "/x/" + strings.Repeat("k", i+1), Value: []byte("v")})
		}
		_, err := n.bar.Commit(t.Context(), nil, writes)
		n.must(err)
	}
	work := func(n *node) error {
		if _, err := n.spaces.Delete(t.Context(), namespace.RootID, "a"); err != nil {
			return err
		}
		return n.runJobs()
	}
	kills := killEverywhere(t, prepare, work, func(n *node) {
		if n.find("a") != nil { // killed before it began
			n.must(n.enable(id, "again/"))
			_, err := n.spaces.Delete(t.Context(), namespace.RootID, "a")
			n.must(err)
		}
		n.must(n.runJobs())
		n.onlyOf()
		if left := append(n.keys("root/ns"), n.keys(spaceJobs)...); len(left) != 0 {
			t.Fatalf("left: %v", left)
		}
		if made := n.create(atRoot, "a"); made.ID == id {
			t.Fatal("an identifier was used again")
		}
	})
	if kills < 8 {
		t.Fatalf("only %d kills: the work takes more commits", kills)
	}
}

func TestDisableIsKilled(t *testing.T) {
	var data string
	prepare := func(n *node) {
		e := &mount.Entry{Path: "kv/", Type: "kv"}
		n.must(n.mounts.Enable(t.Context(), namespace.RootID, e))
		data = e.Prefix(namespace.RootID)
		_, err := n.bar.Commit(t.Context(), nil, []store.Write{{Key: data + "a", Value: []byte("v")}})
		n.must(err)
	}
	work := func(n *node) error {
		if _, err := n.mounts.Disable(t.Context(), namespace.RootID, "kv/"); err != nil {
			return err
		}
		return n.runJobs()
	}
	killEverywhere(t, prepare, work, func(n *node) {
		table, err := n.mounts.Table(t.Context(), namespace.RootID)
		n.must(err)
		if there := table.Get("kv/") != nil; there && len(n.keys(data)) == 0 {
			t.Fatal("the mount is there without its data")
		}
		_, err = n.mounts.Disable(t.Context(), namespace.RootID, "kv/")
		n.must(err)
		n.must(n.runJobs())
		if left := append(n.keys(data), n.keys(mountJobs)...); len(left) != 0 {
			t.Fatalf("left: %v", left)
		}
	})
}

// race runs things at once and returns their errors.
func race(things ...func() error) []error {
	errs := make([]error, len(things))
	var wg sync.WaitGroup
	for i, fn := range things {
		wg.Go(func() { errs[i] = fn() })
	}
	wg.Wait()
	return errs
}

// oneWins fails unless exactly one thing succeeded and the others were told why.
func oneWins(t *testing.T, errs []error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if k := api.KindOf(err); k != api.Invalid && k != api.Conflict {
			t.Fatalf("the loser got %v", err)
		}
	}
	if won != 1 {
		t.Fatalf("%d succeeded: %v", won, errs)
	}
}

func TestRaceForAName(t *testing.T) {
	for range 30 {
		phys := mem.New(mem.Options{})
		one, two := newNode(t, phys.Open()), newNode(t, phys.Open())
		oneWins(t, race(
			func() error { return one.enable(namespace.RootID, "team/") },
			func() error { _, err := two.spaces.Create(t.Context(), atRoot, "Team", nil); return err },
			func() error { return two.enable(namespace.RootID, "TEAM/a/") },
		))
	}
}

func TestChildMadeDuringDelete(t *testing.T) {
	n := newNode(t, mem.Open())
	a := n.create(atRoot, "a")
	n.deleting = func() { n.create(a.API(), "b") }
	_, err := n.spaces.Delete(t.Context(), namespace.RootID, "a")
	wantKind(t, err, api.Invalid)
	n.usable("a/b")
}

// A child is never made in a parent that is deleted at the same time.
func TestRaceOfChildAndDelete(t *testing.T) {
	for range 30 {
		phys := mem.New(mem.Options{})
		one, two := newNode(t, phys.Open()), newNode(t, phys.Open())
		a := one.create(atRoot, "a")
		two.fresh()
		errs := race(
			func() error { _, err := one.spaces.Delete(t.Context(), namespace.RootID, "a"); return err },
			func() error { _, err := two.spaces.Create(t.Context(), a.API(), "b", nil); return err },
		)
		switch {
		case errs[0] == nil && errs[1] == nil, errs[0] != nil && errs[1] != nil:
			t.Fatalf("both or neither: %v", errs)
		case errs[1] != nil:
			wantKind(t, errs[1], api.NotFound)
		}
	}
}

// A namespace deleted while it is being made ends as deleted.
func TestRaceOfCreateAndDelete(t *testing.T) {
	for range 30 {
		phys := mem.New(mem.Options{})
		one, two := newNode(t, phys.Open()), newNode(t, phys.Open())
		errs := race(
			func() error { _, err := one.spaces.Create(t.Context(), atRoot, "a", nil); return err },
			func() error {
				for {
					if found, err := two.spaces.Delete(t.Context(), namespace.RootID, "a"); found || err != nil {
						return errors.Join(err, two.runJobs())
					}
				}
			},
		)
		if errs[1] != nil || errs[0] != nil && api.KindOf(errs[0]) != api.Conflict {
			t.Fatal(errs)
		}
		one.must(one.runJobs())
		if one.find("a") != nil || len(one.keys("root/ns")) != 0 {
			t.Fatal("it is there still")
		}
	}
}
