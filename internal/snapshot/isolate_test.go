package snapshot

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// isolated is what a node was told of restores.
type isolated struct {
	restores []string
	fail     error
}

func (i *isolated) isolate(n *node) func(context.Context, string, time.Time, time.Time) error {
	return func(_ context.Context, restore string, restored, taken time.Time) error {
		if restored.IsZero() || taken.IsZero() {
			return errors.New("when it was taken and restored is not told")
		}
		i.restores = append(i.restores, restore)
		if i.fail != nil {
			return i.fail
		}
		_, err := n.Barrier.Commit(context.Background(), nil, []store.Write{{Key: "root/quarantine", Value: []byte(restore)}})
		return err
	}
}

// The first unsealing puts a restored store into quarantine, unless its source is gone. A
// node that is killed between that and the end of the restore does it again, by the same
// name, and is not confused by the row that it has written.
func TestTheFirstUnsealingIsolates(t *testing.T) {
	from := source(t, 20)
	b := from.saved(t)
	for name, gone := range map[string]bool{"copy": false, "source is gone": true} {
		to, told := newNode(t, mem.Open()), &isolated{fail: errors.New("killed")}
		to.Isolate = told.isolate(to)
		if err := restoreFrom(t.Context(), to.Store, bytes.NewReader(b), gone); err != nil {
			t.Fatal(err)
		}
		to.unseal(t, from.share)
		err := to.Admit(t.Context())
		if gone {
			if err != nil || len(told.restores) > 0 {
				t.Errorf("%s: %v, %v", name, told.restores, err)
			}
			continue
		}
		if !errors.Is(err, told.fail) {
			t.Fatalf("%s: %v", name, err)
		}
		put(t, to.Barrier, "root/quarantine", "written, and then the node was killed")
		told.fail = nil
		if err := errors.Join(to.Admit(t.Context()), to.Admit(t.Context())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r := told.restores; len(r) != 2 || r[0] == "" || r[0] != r[1] {
			t.Errorf("%s: %v", name, r)
		}
		if e, err := to.Store.Get(t.Context(), barrier.RestoreKey); err != nil || e.Exists() {
			t.Errorf("%s: the restore has not ended: %v", name, err)
		}
	}
}

// Two nodes that unseal at once isolate one restore by one name.
func TestNodesThatUnsealAtOnceAgree(t *testing.T) {
	from, s := source(t, 20), mem.Open()
	first, second, told := newNode(t, s), newNode(t, s), &isolated{}
	if err := restoreFrom(t.Context(), s, bytes.NewReader(from.saved(t)), false); err != nil {
		t.Fatal(err)
	}
	first.unseal(t, from.share)
	second.unseal(t, from.share)
	second.Isolate = told.isolate(second)
	first.Isolate = func(ctx context.Context, restore string, restored, taken time.Time) error {
		if err := second.Admit(ctx); err != nil {
			t.Error(err)
		}
		return told.isolate(first)(ctx, restore, restored, taken)
	}
	if err := first.Admit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := told.restores; len(r) != 2 || r[0] != r[1] {
		t.Errorf("%v", r)
	}
}

// lateView is an engine in which something happens before it is looked at as a whole.
type lateView struct {
	store.Engine
	before func()
}

func (l *lateView) View(ctx context.Context) (store.View, error) {
	l.before()
	return l.Engine.View(ctx)
}

// A node that looks at the rows after another one has judged them, and has begun to change
// them, does not take that for a forgery.
func TestWhatAnotherNodeHasJudgedIsNotJudgedAgain(t *testing.T) {
	from, s := source(t, 20), mem.Open()
	late := &lateView{Engine: s}
	first, second, told := newNode(t, late), newNode(t, s), &isolated{fail: errors.New("killed")}
	if err := restoreFrom(t.Context(), s, bytes.NewReader(from.saved(t)), false); err != nil {
		t.Fatal(err)
	}
	first.unseal(t, from.share)
	second.unseal(t, from.share)
	second.Isolate, first.Isolate = told.isolate(second), (&isolated{}).isolate(first)
	late.before = func() {
		if err := second.Admit(context.Background()); !errors.Is(err, told.fail) {
			t.Error(err)
		}
		put(t, second.Barrier, "root/quarantine", "written, and then the node was killed")
	}
	if err := first.Admit(t.Context()); err != nil {
		t.Error(err)
	}
}
