package member

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func (f *fleet) id(name string) uint64 { return uint64(f.members[name].etcd.Server.MemberID()) }

// wantRefused checks that a change was refused in words that name all of wants, of which the
// last is in what is told to do.
func wantRefused(t *testing.T, err error, wants ...string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("the change ends with %v", err)
	}
	for i, want := range wants {
		if text := r.What; i == len(wants)-1 && !strings.Contains(r.Hint, want) || i < len(wants)-1 && !strings.Contains(text, want) {
			t.Errorf("%q is not told: %s; %s", want, r.What, r.Hint)
		}
	}
}

// TestRefusedChanges has changes refused that etcd will not take, each with who is away and
// what comes next, and long before what etcd may need to settle is over.
func TestRefusedChanges(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.start("a", "b", "c")
	a, url, lost := f.members["a"], "http://"+freeAddr(t), f.id("c")
	ctx := t.Context()
	wantRefused(t, a.Remove(ctx, 1), "none with the id 1", "operator storage members")
	wantRefused(t, a.Add(ctx, f.config.Members[1].URL), "already", "remove "+strconv.FormatUint(f.id("b"), 16))
	f.kill("c")
	ctx, cancel := context.WithTimeout(ctx, settle-2*time.Second)
	defer cancel()
	wantRefused(t, a.Add(ctx, url), "adding the member at "+url, "c at "+f.config.Members[2].URL, "remove "+strconv.FormatUint(lost, 16))
	wantRefused(t, a.Remove(ctx, f.id("b")), "c at "+f.config.Members[2].URL, "remove "+strconv.FormatUint(lost, 16))
	if all := a.local(); len(all) != 3 {
		t.Errorf("after changes that were refused the members are %v", all)
	}
}

// TestChangesOfOne adds a member to one that is alone, which may not leave, and which takes no
// third one before the second has started.
func TestChangesOfOne(t *testing.T) {
	f := newFleet(t, "a")
	f.start("a")
	a, second, third := f.members["a"], "http://"+freeAddr(t), "http://"+freeAddr(t)
	wantRefused(t, a.Remove(t.Context(), f.id("a")), "the last one", "add another")
	if err := a.Add(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	id := a.idAt(second)
	ctx, cancel := context.WithTimeout(t.Context(), settle-2*time.Second)
	defer cancel()
	wantRefused(t, a.Add(ctx, third), "that has not started yet ("+id+")", "remove "+id)
}

// TestLeaderDiesBeforeAChange kills the leader and has it removed while the others take it for
// their leader still: the proposal is lost, and is made again.
func TestLeaderDiesBeforeAChange(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.start("a", "b", "c")
	leader := f.leader(t)
	id, other := f.id(leader), f.members[f.others(leader)[0]]
	f.kill(leader)
	if err := other.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if all := other.local(); len(all) != 2 {
		t.Errorf("the members are %v", all)
	}
}

// errSilence stands for an attempt that nobody answers.
var errSilence = errors.New("silence")

// TestLostProposals has attempts end without an outcome: another is made, and one that finds
// the change done by an earlier one is a success.
func TestLostProposals(t *testing.T) {
	f := newFleet(t, "a")
	f.start("a")
	for name, c := range map[string]struct {
		errs []error
		done bool // after the first attempt
		want error
	}{
		"lost and taken":            {errs: []error{rpctypes.ErrTimeoutDueToLeaderFail, context.DeadlineExceeded, nil}},
		"lost without a word":       {errs: []error{errSilence, nil}},
		"lost and done by then":     {errs: []error{rpctypes.ErrTimeout}, done: true},
		"lost and found done":       {errs: []error{rpctypes.ErrLeaderChanged, rpctypes.ErrMemberNotFound}},
		"not found at once":         {errs: []error{rpctypes.ErrMemberNotFound}, want: rpctypes.ErrMemberNotFound},
		"unhealthy, then not found": {errs: []error{rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotFound}, want: rpctypes.ErrMemberNotFound},
	} {
		attempts := 0
		err := f.members["a"].change(t.Context(), change{
			what: "testing", answers: rpctypes.ErrMemberNotFound, stay: func(Info) bool { return true },
			done: func() bool { return c.done && attempts > 0 },
			do: func(ctx context.Context) error {
				attempts++
				if attempts > len(c.errs) {
					t.Fatalf("%s: attempt %d", name, attempts)
				}
				if c.errs[attempts-1] == errSilence {
					<-ctx.Done()
					return ctx.Err()
				}
				return c.errs[attempts-1]
			},
		})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || attempts != len(c.errs) {
			t.Errorf("%s: %v after %d attempts", name, err, attempts)
		}
	}
}
