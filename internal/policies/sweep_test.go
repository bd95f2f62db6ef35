package policies

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// keys are all keys that a namespace's policies have, but the default's.
func (f *fixture) keys(nsID string) []string {
	f.t.Helper()
	es, err := f.store.List(f.t.Context(), store.Prefix(nsID+"/"))
	f.must(err)
	var out []string
	for _, e := range es {
		if !strings.HasSuffix(e.Key, "/default") {
			out = append(out, e.Key)
		}
	}
	return out
}

// TestExpiredPoliciesGo lets time pass over policies that expire, that were
// extended, written anew, made to last, and deleted.
func TestExpiredPoliciesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fresh(t)
		f.now = time.Now
		ctx, stop := context.WithCancel(t.Context())
		runner := &schedule.Runner{Store: f.store, Now: time.Now, Handlers: f.Jobs(), Failed: func(it schedule.Item, err error) { t.Errorf("%s: %v", it.Kind, err) }}
		ended := make(chan error, 1)
		go func() { ended <- runner.Run(ctx) }()
		in := func(d time.Duration) Terms { return Terms{Expires: time.Now().Add(d)} }
		for _, name := range []string{"ends", "a/b", "extended", "kept", "deleted", "again"} {
			f.must(f.Write(ctx, "ns1", name, readA, in(time.Hour)))
		}
		f.must(f.Write(ctx, "root", "stays", readA, Terms{}))
		f.must(f.Patch(ctx, "ns1", "extended", "", in(5*time.Hour)))
		f.must(f.Write(ctx, "ns1", "kept", readA, Terms{}))
		f.must(f.Delete(ctx, "ns1", "deleted"))
		time.Sleep(90 * time.Minute) // it has expired, and is not swept yet
		f.must(f.Write(ctx, "ns1", "again", readA, Terms{}))
		if f.may("ns1", "a", "ends") || !slices.Contains(f.keys("ns1"), "ns1/policy/acl/ends") {
			t.Error("it grants still, or is gone already")
		}
		time.Sleep(2 * time.Hour)
		left := f.keys("ns1")
		left = slices.DeleteFunc(left, func(k string) bool { return strings.HasPrefix(k, "ns1/due/") })
		want := []string{"ns1/policy/acl/again", "ns1/policy/acl/extended", "ns1/policy/acl/kept", "ns1/policy/expires/extended"}
		if !slices.Equal(left, want) || len(f.keys("ns1")) != len(want)+1 || !f.may("ns1", "a", "extended") {
			t.Errorf("left are %v", f.keys("ns1"))
		}
		time.Sleep(3 * time.Hour)
		if left := f.keys("ns1"); !slices.Equal(left, []string{"ns1/policy/acl/again", "ns1/policy/acl/kept"}) || !f.may("root", "a", "stays") {
			t.Errorf("at the end there are %v", left)
		}
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// overtaken is a store before whose first commit something else happens.
type overtaken struct {
	store.Store
	by func()
}

func (o *overtaken) Commit(ctx context.Context, cs []store.Check, ws []store.Write) (store.Rev, error) {
	if by := o.by; by != nil {
		o.by = nil
		by()
	}
	return o.Store.Commit(ctx, cs, ws)
}

// TestSweepSparesWhatIsExtended writes the policy anew between the look and the
// commit of its sweep.
func TestSweepSparesWhatIsExtended(t *testing.T) {
	f := fresh(t)
	ctx := t.Context()
	f.must(f.Write(ctx, "root", "p", readA, Terms{Expires: start().Add(time.Hour)}))
	f.at(start().Add(24 * time.Hour))
	other := *f.Store
	swept := false
	f.store = &overtaken{f.store, func() {
		swept = true
		f.must(other.Write(ctx, "root", "p", readA, Terms{Expires: start().Add(48 * time.Hour)}))
	}}
	f.must(f.sweep(ctx, &schedule.Job{Item: schedule.Item{Namespace: "root", Data: []byte("p")}}))
	if !swept || !f.may("root", "a", "p") {
		t.Errorf("what was extended is gone: %v", swept)
	}
}
