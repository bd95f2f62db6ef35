package operator

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// office is a desk on a store, and its clock.
type office struct {
	*Desk
	phys    *storetest.Mortal
	now     time.Time
	rewraps int
}

func newOffice(t testing.TB, phys store.Store) *office {
	mortal, ok := phys.(*storetest.Mortal)
	if !ok {
		mortal = &storetest.Mortal{Store: phys}
	}
	o := &office{now: noon, phys: mortal}
	clock := func() time.Time { return o.now }
	b := barrier.New(phys, clock)
	t.Cleanup(func() { must(t, b.Seal()) })
	o.Desk = &Desk{Barrier: b, Seal: seal.NewManager(b, phys, seal.Kinds{seal.KindShamir: seal.Shamir{}}, clock), TokenLength: 5, Held: func(context.Context) bool { return false }, Warning: func() string { return "" }, Log: slog.New(slog.DiscardHandler),
		Open: func(ctx context.Context) error { return b.AddNamespace(ctx, "root") }, Shut: func(context.Context) error { return b.Seal() },
		IssueRoot:   func(context.Context) (*api.Auth, error) { return &api.Auth{ClientToken: api.NewSecret("token")}, nil },
		RewrapLater: func(context.Context) error { o.rewraps++; return nil }}
	return o
}

// call is a request by who has sudo.
func (o *office) call(t testing.TB) *api.Call {
	return &api.Call{Context: t.Context(), Now: o.now, Caller: api.Caller{Sudo: true}}
}

func secrets(keys []api.Disclosed) []api.Secret {
	var out []api.Secret
	for _, k := range keys {
		out = append(out, api.NewSecret(string(k)))
	}
	return out
}

// founded is an open office and the three keys, of which two open it.
func founded(t testing.TB, phys store.Store) (*office, []api.Secret) {
	t.Helper()
	o := newOffice(t, phys)
	made, err := o.initialise(o.call(t), &InitRequest{Shares: 3, Threshold: 2})
	must(t, err)
	keys := secrets(made.KeysBase64)
	must(t, o.reopen(t, keys))
	return o, keys
}

func (o *office) reopen(t testing.TB, keys []api.Secret) error {
	for _, k := range keys[:min(2, len(keys))] {
		if _, err := o.unseal(o.call(t), &UnsealRequest{Key: k}); err != nil {
			return err
		}
	}
	if o.Barrier.Sealed() {
		return barrier.ErrSealed
	}
	return nil
}

// answered runs a handler as the gate and the door do: what was left to be done
// once its answer was sent is done then. A server that was killed before sends none.
func (o *office) answered(c *api.Call, err error) error {
	if err == nil && o.phys.Dead() {
		err = storetest.ErrKilled
	}
	for _, fn := range c.TakeSent() {
		fn(err == nil)
	}
	return err
}

// rekeyed replaces the keys and is what was answered; nil and an error when the
// server was killed before it answered.
func (o *office) rekeyed(t testing.TB, keys []api.Secret, verify bool) ([]api.Secret, error) {
	c := o.call(t)
	begun, err := o.rekeyInit(c, &RekeyRequest{Shares: 2, Threshold: 2, Verify: verify})
	if err := o.answered(c, err); err != nil {
		return nil, err
	}
	var out *RekeyProgress
	for _, k := range keys[:2] {
		out, err = o.rekeyUpdate(c, &UpdateRequest{Key: k, Nonce: begun.Nonce})
		if err := o.answered(c, err); err != nil {
			return nil, err
		}
	}
	fresh := secrets(out.Keys)
	if !verify {
		return fresh, nil
	}
	for _, k := range fresh {
		_, err := o.verify(c, &UpdateRequest{Key: k, Nonce: out.VerifyNonce})
		if err := o.answered(c, err); err != nil {
			return fresh, err
		}
	}
	return fresh, nil
}

// TestRekeySurvivesKills kills the server before and after the effect of every
// commit of a rekey: the keys that were answered last work, the old ones or the new.
func TestRekeySurvivesKills(t *testing.T) {
	for _, verify := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			finished := false
			for kill := 0; !finished; kill++ {
				phys := mem.Open()
				mortal := &storetest.Mortal{Store: phys}
				o, old := founded(t, mortal)
				mortal.Doom(kill, after)
				fresh, err := o.rekeyed(t, old, verify)
				if err != nil && !errors.Is(err, storetest.ErrKilled) {
					t.Fatal(err)
				}
				finished = !mortal.Dead()
				again := newOffice(t, phys)
				if again.reopen(t, old) != nil && (fresh == nil || again.reopen(t, fresh) != nil) {
					t.Errorf("verify %v, killed at commit %d, after %v: neither the old nor the new keys open", verify, kill, after)
				}
				if kill > 20 {
					t.Fatal("a rekey does not end")
				}
			}
		}
	}
}

// TestKeysAreAnsweredThoughTheOldOnesStay pins that a failure to retire the old keys
// does not take the new ones, which are kept nowhere, from who asked for them.
func TestKeysAreAnsweredThoughTheOldOnesStay(t *testing.T) {
	phys := mem.Open()
	mortal := &storetest.Mortal{Store: phys}
	o, old := founded(t, mortal)
	mortal.Doom(4, false) // begin, first key, second key, answer, retire
	fresh, err := o.rekeyed(t, old, false)
	if err != nil || len(fresh) != 2 || !mortal.Dead() {
		t.Fatalf("%d keys, %v", len(fresh), err)
	}
	mortal.Revive()
	for _, keys := range [][]api.Secret{old, fresh} {
		must(t, newOffice(t, phys).reopen(t, keys))
	}
	status, err := o.verifyStatus(o.call(t), nil)
	if err != nil || !status.Started {
		t.Fatalf("the new keys cannot be verified: %+v, %v", status, err)
	}
	for _, k := range fresh {
		status, err = o.verify(o.call(t), &UpdateRequest{Key: k, Nonce: status.Nonce})
		must(t, err)
	}
	if newOffice(t, phys).reopen(t, old) == nil {
		t.Error("the old keys open after all")
	}
}

// TestOneTokenForOneCeremony pins that the same keys make no second token, whatever
// became of the first.
func TestOneTokenForOneCeremony(t *testing.T) {
	o, keys := founded(t, mem.Open())
	o.IssueRoot = func(context.Context) (*api.Auth, error) { return nil, storetest.ErrKilled }
	begun, err := o.rootInit(o.call(t), &GenerateRequest{})
	must(t, err)
	if _, err := o.rootUpdate(o.call(t), &UpdateRequest{Key: keys[0], Nonce: begun.Nonce}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{storetest.ErrKilled, seal.ErrNoCeremony} {
		if _, err := o.rootUpdate(o.call(t), &UpdateRequest{Key: keys[1+i], Nonce: begun.Nonce}); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestRotateIfDue(t *testing.T) {
	yes, no := true, false
	day, none := api.Duration(24*time.Hour), api.Duration(0)
	few := int64(minOperations)
	for name, c := range map[string]struct {
		set     RotationRequest
		later   time.Duration
		written uint64
		want    bool
	}{
		"as it comes":             {RotationRequest{}, 10 * 365 * 24 * time.Hour, 0, false},
		"old enough":              {RotationRequest{Interval: &day}, 24 * time.Hour, 0, true},
		"not old enough":          {RotationRequest{Interval: &day}, 24*time.Hour - 1, 0, false},
		"old, but switched off":   {RotationRequest{Interval: &day, Enabled: &no}, 48 * time.Hour, 0, false},
		"switched on":             {RotationRequest{Interval: &day, Enabled: &yes}, 48 * time.Hour, 0, true},
		"written enough":          {RotationRequest{Interval: &none, MaxOperations: &few}, 0, minOperations, true},
		"not written enough":      {RotationRequest{MaxOperations: &few}, 0, minOperations - 1000, false},
		"written, but not so few": {RotationRequest{}, 0, minOperations, false},
	} {
		o, _ := founded(t, mem.Open())
		if _, err := o.setRotation(o.call(t), &c.set); err != nil {
			t.Fatal(err)
		}
		o.Barrier.Counted(-c.written) // as if so many had been written
		o.now = o.now.Add(c.later)
		done, err := o.RotateIfDue(t.Context(), o.now)
		if err != nil || done != c.want || (o.Barrier.Status().Epoch == 2) != c.want || (o.rewraps == 1) != c.want {
			t.Errorf("%s: rotated %v, epoch %d, %d rewraps, %v", name, done, o.Barrier.Status().Epoch, o.rewraps, err)
		}
	}
}

// TestCountOutlivesTheServer pins that what was written is still counted after a
// restart, and begins anew with a new key.
func TestCountOutlivesTheServer(t *testing.T) {
	phys := mem.Open()
	o, keys := founded(t, phys)
	const some = uint64(1000)
	o.Barrier.Counted(o.Barrier.Written() - some) // as if so many had been written
	_, err := o.KeepCount(t.Context())
	must(t, err)
	again := newOffice(t, phys)
	must(t, again.reopen(t, keys))
	status, err := again.keyStatus(again.call(t), nil)
	if err != nil || status.Encryptions < 1000 || status.Encryptions > 1010 {
		t.Errorf("counted %d, %v", status.Encryptions, err)
	}
	if _, err := again.rotate(again.call(t), nil); err != nil {
		t.Fatal(err)
	}
	status, err = again.keyStatus(again.call(t), nil)
	if err != nil || status.Encryptions > 10 {
		t.Errorf("counted %d under a new key, %v", status.Encryptions, err)
	}
}

// TestNewKeysAreNotWrapped pins that the only keys that unseal are never kept in the
// store that they unseal.
func TestNewKeysAreNotWrapped(t *testing.T) {
	o, keys := founded(t, mem.Open())
	begun, err := o.rekeyInit(o.call(t), &RekeyRequest{Shares: 1, Threshold: 1})
	must(t, err)
	for _, k := range keys[:2] {
		c := o.call(t)
		c.WrapTTL = time.Minute
		_, err := o.rekeyUpdate(c, &UpdateRequest{Key: k, Nonce: begun.Nonce})
		if api.KindOf(o.answered(c, err)) != api.Invalid {
			t.Errorf("wrapped: %v", err)
		}
	}
	now, err := o.rekeyStatus(o.call(t), nil)
	must(t, err)
	if now.Progress != 0 {
		t.Errorf("%d of the refused keys count", now.Progress)
	}
	must(t, o.Barrier.Seal())
	must(t, o.reopen(t, keys))
}

// watched is a store that calls back once a commit has been made.
type watched struct {
	store.Store
	made func()
}

func (w *watched) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (store.Rev, error) {
	rev, err := w.Store.Commit(ctx, checks, writes)
	if w.made != nil {
		w.made()
	}
	return rev, err
}

// TestNobodyCancelsBeforeTheAnswer pins that what waits for new keys to be sent waits
// from before they are made: a cancellation between would take away the keys that are
// then answered.
func TestNobodyCancelsBeforeTheAnswer(t *testing.T) {
	w := &watched{Store: mem.Open()}
	o, keys := founded(t, w)
	begun, err := o.rekeyInit(o.call(t), &RekeyRequest{Shares: 1, Threshold: 1})
	must(t, err)
	open, commits := 0, 0
	w.made = func() {
		if commits++; o.handing.TryLock() {
			open++
			o.handing.Unlock()
		}
	}
	c := o.call(t)
	for _, k := range keys[:2] {
		_, err = o.rekeyUpdate(c, &UpdateRequest{Key: k, Nonce: begun.Nonce})
		must(t, err)
	}
	if o.handing.TryLock() {
		t.Error("a cancellation gets in before the new keys were sent")
	}
	must(t, o.answered(c, nil))
	if commits < 3 || open > 0 {
		t.Errorf("after %d of %d commits a cancellation gets in", open, commits)
	}
	commits, open = 0, 0
	must(t, o.answered(c, o.cancel(o.call(t), seal.Rekey, &CancelRequest{})))
	if commits != 1 || open > 0 {
		t.Errorf("after %d of %d commits of a cancellation new keys can be made", open, commits)
	}
	if _, err := o.rekeyUpdate(o.call(t), &UpdateRequest{Key: keys[0], Nonce: begun.Nonce}); err == nil {
		t.Error("an old key counts in a ceremony that is over")
	}
	o.settle() // whatever happened, nobody waits for ever
}
