package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

var newSet = NewSet{Name: "new", Shares: 3, Threshold: 2, Verify: true}

// held is an unsealed node with one slot of three in five.
func held(t testing.TB, phys store.Store) (*node, []Share) {
	n := newNode(t, phys, keyDir(t))
	made := n.init(t, shamirSpec)
	n.open(t, made[0].Handed)
	return n, made[0].Handed
}

// open unseals with shares.
func (n *node) open(t testing.TB, shares []Share) {
	t.Helper()
	for _, s := range shares {
		n.submit(t, s)
	}
	if n.b.Sealed() {
		t.Fatal("the shares do not unseal")
	}
}

func (n *node) begin(t testing.TB, set NewSet) *Ceremony {
	t.Helper()
	c, err := n.Begin(t.Context(), Rekey, CeremonySpec{New: &set})
	must(t, err)
	return c
}

func (n *node) show(t testing.TB, p Purpose, nonce string, s Share) *Shown {
	t.Helper()
	out, err := n.Show(t.Context(), p, nonce, s.Base64())
	must(t, err)
	return out
}

// opens reports whether a server that starts on the store unseals with shares.
func opens(t testing.TB, phys store.Store, shares []Share) bool {
	t.Helper()
	n := newNode(t, phys, t.TempDir())
	for _, s := range shares {
		if _, err := n.SubmitShare(t.Context(), s.Base64()); err != nil && !errors.Is(err, ErrUnknownSet) {
			t.Fatal(err)
		}
	}
	return !n.b.Sealed()
}

func TestRekeyIsTwoPhase(t *testing.T) {
	phys := mem.Open()
	n, old := held(t, phys)
	c := n.begin(t, newSet)
	for i, s := range []Share{old[4], old[1], old[4]} { // one of them twice
		if out := n.show(t, Rekey, c.Nonce, s); out.Complete || len(out.Shown) != min(i+1, 2) || out.Required != 3 {
			t.Fatalf("after %d: %+v", i+1, out)
		}
	}
	out := n.show(t, Rekey, c.Nonce, old[0])
	if !out.Complete || len(out.Made.Handed) != 3 || out.Made.Threshold != 2 {
		t.Fatalf("made %+v", out.Made)
	}
	fresh := out.Made.Handed
	if !opens(t, phys, old[:3]) || !opens(t, phys, fresh[:2]) {
		t.Error("before the verification, the old shares or the new ones do not unseal")
	}
	_, err := n.Show(t.Context(), Rekey, c.Nonce, old[2].Base64())
	wantErr(t, err, ErrVerifying)
	_, _, err = n.Verify(t.Context(), c.Nonce, fresh[0].Base64())
	wantErr(t, err, ErrNonce)
	_, _, err = n.Verify(t.Context(), out.New.Nonce, old[0].Base64())
	wantErr(t, err, ErrOtherSet)
	for i, want := range []bool{false, false, true} {
		s := fresh[max(i-1, 0)] // the first one twice
		if _, done, err := n.Verify(t.Context(), out.New.Nonce, s.Base64()); err != nil || done != want {
			t.Fatalf("verification %d: %v, %v", i, done, err)
		}
	}
	if opens(t, phys, old) || !opens(t, phys, fresh[1:]) {
		t.Error("after the verification, the old shares unseal or the new ones do not")
	}
	if c, required, err := n.CeremonyStatus(t.Context(), Rekey); c != nil || required != 2 || err != nil {
		t.Errorf("afterwards: %+v, %d, %v", c, required, err)
	}
}

func TestRekeyWithoutVerification(t *testing.T) {
	phys := mem.Open()
	n, old := held(t, phys)
	c := n.begin(t, NewSet{Shares: 1, Threshold: 1})
	wantErr(t, n.Retire(t.Context(), c.Nonce), ErrNotVerifying)
	n.show(t, Rekey, c.Nonce, old[0])
	n.show(t, Rekey, c.Nonce, old[1])
	made := n.show(t, Rekey, c.Nonce, old[2]).Made
	if made.Name != "operators" {
		t.Errorf("the new slot is called %q", made.Name)
	}
	wantErr(t, n.Retire(t.Context(), "other"), ErrNoCeremony)
	must(t, n.Retire(t.Context(), c.Nonce))
	wantErr(t, n.Retire(t.Context(), c.Nonce), ErrNoCeremony)
	if opens(t, phys, old) || !opens(t, phys, made.Handed) {
		t.Error("the old shares unseal or the new one does not")
	}
}

// TestWrongShareOfACeremony pins that a wrong share is told apart by its number and
// leaves what others have handed in as it was.
func TestWrongShareOfACeremony(t *testing.T) {
	n, old := held(t, mem.Open())
	board, err := n.AddSlot(t.Context(), shamirSpec)
	must(t, err)
	c := n.begin(t, newSet)
	n.show(t, Rekey, c.Nonce, old[0])
	wrong := old[3]
	wrong.y[7] ^= 1
	for _, bad := range []struct {
		text  api.Secret
		nonce string
		want  error
		says  string
	}{
		{wrong.Base64(), c.Nonce, ErrWrongShare, "number 4"},
		{board.Handed[1].Base64(), c.Nonce, ErrOtherSet, "number 2"},
		{api.NewSecret("mistyped"), c.Nonce, ErrShare, ""},
		{old[1].Base64(), "another", ErrNonce, ""},
	} {
		_, err := n.Show(t.Context(), Rekey, bad.nonce, bad.text)
		wantErr(t, err, bad.want)
		if !strings.Contains(err.Error(), bad.says) || strings.Contains(err.Error(), bad.text.Reveal()) {
			t.Errorf("%v: want %q and not the share", err, bad.says)
		}
	}
	if out := n.show(t, Rekey, c.Nonce, old[1]); len(out.Shown) != 2 {
		t.Errorf("shown: %v", out.Shown)
	}
	if out := n.show(t, Rekey, c.Nonce, old[2]); !out.Complete {
		t.Error("the right shares do not complete the ceremony")
	}
}

// TestStrangerHasNoSay pins that beginning and cancelling with a proof takes one.
func TestStrangerHasNoSay(t *testing.T) {
	n, old := held(t, mem.Open())
	_, theirs := held(t, mem.Open())
	for _, bad := range []api.Secret{theirs[0].Base64(), api.NewSecret("x")} {
		if _, err := n.Begin(t.Context(), RootToken, CeremonySpec{Proof: bad}); err == nil {
			t.Error("a stranger has begun a ceremony")
		}
	}
	c, err := n.Begin(t.Context(), RootToken, CeremonySpec{Proof: old[2].Hex(), Memo: api.NewSecret("kept")})
	must(t, err)
	if len(c.Shown) != 1 {
		t.Errorf("the proof does not count: %v", c.Shown)
	}
	_, err = n.Begin(t.Context(), RootToken, CeremonySpec{})
	wantErr(t, err, ErrCeremony)
	wantErr(t, n.Cancel(t.Context(), RootToken, theirs[0].Base64()), ErrOtherSet)
	if now, _, err := n.CeremonyStatus(t.Context(), RootToken); err != nil || now == nil || now.Memo.Reveal() != "kept" {
		t.Fatalf("after a stranger's cancel: %+v, %v", now, err)
	}
	must(t, n.Cancel(t.Context(), RootToken, old[0].Base64()))
	if now, _, err := n.CeremonyStatus(t.Context(), RootToken); now != nil || err != nil {
		t.Errorf("after a holder's cancel: %+v, %v", now, err)
	}
}

// TestAnyNodeGoesOn hands shares in at two nodes in turn.
func TestAnyNodeGoesOn(t *testing.T) {
	phys := mem.Open()
	a, old := held(t, phys)
	b := newNode(t, phys, a.dir)
	b.open(t, old[:3])
	c, err := a.Begin(t.Context(), RootToken, CeremonySpec{})
	must(t, err)
	b.show(t, RootToken, c.Nonce, old[0])
	a.show(t, RootToken, c.Nonce, old[1])
	if !b.show(t, RootToken, c.Nonce, old[2]).Complete {
		t.Error("not complete")
	}
	_, err = a.Show(t.Context(), RootToken, c.Nonce, old[3].Base64())
	wantErr(t, err, ErrNoCeremony) // it allows one token
}

func TestCeremonyIsForgotten(t *testing.T) {
	n, old := held(t, mem.Open())
	now := testClock()
	n.Manager.now = func() time.Time { return now }
	c, err := n.Begin(t.Context(), RootToken, CeremonySpec{Proof: old[0].Base64()})
	must(t, err)
	now = now.Add(ceremonyLife - 1)
	n.show(t, RootToken, c.Nonce, old[1])
	now = now.Add(1)
	_, err = n.Show(t.Context(), RootToken, c.Nonce, old[2].Base64())
	wantErr(t, err, ErrNoCeremony)
	again, err := n.Begin(t.Context(), RootToken, CeremonySpec{})
	if err != nil || len(again.Shown) != 0 {
		t.Errorf("begun anew: %+v, %v", again, err)
	}
}

// TestForgedSlot pins that who can write to the store cannot put commitments to
// shares of his own in a slot's place and then pass for its holders.
func TestForgedSlot(t *testing.T) {
	phys := mem.Open()
	n, _ := held(t, phys)
	slots, err := n.ListSlots(t.Context())
	must(t, err)
	row, err := n.slot(t.Context(), slots[0].ID)
	must(t, err)
	mine, err := Shamir{}.Create(t.Context(), "", shamirSpec)
	must(t, err)
	forged := row.header
	forged.Params = mine.Params
	w, err := wrapSlot(forged, mine.Key, n.b.ClusterID(), make([]byte, barrier.KeyBytes))
	must(t, err)
	_, err = phys.Commit(t.Context(), nil, []store.Write{w})
	must(t, err)
	_, err = n.Begin(t.Context(), RootToken, CeremonySpec{Proof: mine.Shares[0].Base64()})
	wantErr(t, err, ErrUnproven)
}

// TestOldListOfSlots pins that a list made before headers were listed serves, and
// that testing a slot lists its header.
func TestOldListOfSlots(t *testing.T) {
	phys := mem.Open()
	n, old := held(t, phys)
	must(t, n.change(t.Context(), func(d *directory, _ string, _ []byte) ([]store.Check, []store.Write, error) {
		d.Digests = nil
		return nil, nil, nil
	}))
	_, err := n.Begin(t.Context(), RootToken, CeremonySpec{})
	wantErr(t, err, ErrUnproven)
	if _, required, err := n.CeremonyStatus(t.Context(), RootToken); required != 3 || err != nil {
		t.Errorf("status: %d, %v", required, err)
	}
	slots, err := n.ListSlots(t.Context())
	must(t, err)
	must(t, n.TestSlot(t.Context(), slots[0].ID, texts(old[:3])...))
	_, err = n.Begin(t.Context(), RootToken, CeremonySpec{})
	must(t, err)
}

// TestListIsAsItWasWritten pins that a list of slots, of which the last tested one
// was removed, is known again when it is read.
func TestListIsAsItWasWritten(t *testing.T) {
	phys := mem.Open()
	n := newNode(t, phys, keyDir(t))
	made := n.init(t, fileSpec, shamirSpec)
	must(t, n.Unseal(t.Context()))
	must(t, n.TestSlot(t.Context(), made[1].ID, texts(made[1].Handed[:3])...))
	must(t, n.RemoveSlot(t.Context(), made[1].ID))
	_, err := n.AddSlot(t.Context(), shamirSpec)
	must(t, err)
	must(t, newNode(t, phys, n.dir).Unseal(t.Context()))
}

// rekeyScript is a whole rekey; it tells of the new shares when they are handed
// out, and ends at the first error.
func rekeyScript(ctx context.Context, n *node, old []Share, set NewSet, hand func([]Share)) error {
	c, err := n.Begin(ctx, Rekey, CeremonySpec{New: &set})
	if err != nil {
		return err
	}
	var out *Shown
	for _, s := range old[:3] {
		if out, err = n.Show(ctx, Rekey, c.Nonce, s.Base64()); err != nil {
			return err
		}
	}
	if !set.Verify {
		if err := n.Answer(ctx, c.Nonce); err != nil {
			return err
		}
	}
	hand(out.Made.Handed)
	if !set.Verify {
		return n.Retire(ctx, c.Nonce)
	}
	for _, s := range out.Made.Handed[:set.Threshold] {
		if _, _, err := n.Verify(ctx, out.New.Nonce, s.Base64()); err != nil {
			return err
		}
	}
	return nil
}

// TestRekeySurvivesKills kills the server before and after the effect of each commit
// of a rekey. What people hold then, the old shares or the new ones that
// were handed to them, unseals, and the ceremony can be cancelled and done again.
func TestRekeySurvivesKills(t *testing.T) {
	for _, verify := range []bool{true, false} {
		set := newSet
		set.Verify = verify
		commits := 0
		for kill := 0; ; kill++ {
			for _, after := range []bool{false, true} {
				finished, lost := killedRekey(t, set, kill, after, rekeyScript)
				if lost != "" {
					t.Errorf("verify %v, killed at commit %d, after %v: %s", verify, kill, after, lost)
				}
				if finished {
					commits = kill
				}
			}
			if commits > 0 {
				break
			}
		}
		if commits < 5 {
			t.Errorf("a rekey has %d commits only", commits)
		}
	}
}

// killedRekey runs a script that is killed at a commit, and says what is lost.
func killedRekey(t *testing.T, set NewSet, kill int, after bool, script func(context.Context, *node, []Share, NewSet, func([]Share)) error) (finished bool, lost string) {
	t.Helper()
	phys := mem.Open()
	mortal := &storetest.Mortal{Store: phys}
	n, old := held(t, mortal)
	var fresh []Share
	mortal.Doom(kill, after)
	err := script(t.Context(), n, old, set, func(s []Share) { fresh = s })
	finished = err == nil
	if !finished && !errors.Is(err, storetest.ErrKilled) {
		t.Fatal(err)
	}
	people := old[:3]
	if !opens(t, phys, people) {
		if people = fresh; len(fresh) == 0 || !opens(t, phys, fresh) {
			return finished, "neither the old nor the new shares unseal"
		}
	}
	again := newNode(t, phys, n.dir)
	again.open(t, people)
	if err := again.Cancel(t.Context(), Rekey, people[0].Base64()); err != nil && !errors.Is(err, ErrUnknownSet) {
		return finished, fmt.Sprintf("cancelling: %v", err)
	}
	slots, err := again.ListSlots(t.Context())
	most := 1
	if !set.Verify {
		most = 2 // the new shares are answered as good, and the answer may have arrived
	}
	if err != nil || len(slots) > most {
		return finished, fmt.Sprintf("%d slots are left, %v", len(slots), err)
	}
	if !set.Verify && len(fresh) > 0 && !opens(t, phys, fresh) {
		return finished, "the new shares were answered, and after a cancellation they do not unseal"
	}
	return finished, ""
}

// TestAnsweredKeysAreNotCancelled has another node cancel a rekey whose new shares are
// being answered: they unseal, as the old ones do. Before that a cancellation is told to
// who would answer them.
func TestAnsweredKeysAreNotCancelled(t *testing.T) {
	for _, answered := range []bool{true, false} {
		phys, set := mem.Open(), newSet
		n, old := held(t, phys)
		other := newNode(t, phys, keyDir(t))
		other.open(t, old[:3])
		set.Verify = false
		c := n.begin(t, set)
		var fresh []Share
		for _, s := range old[:3] {
			if out := n.show(t, Rekey, c.Nonce, s); out.Complete {
				fresh = out.Made.Handed
			}
		}
		if answered {
			must(t, n.Answer(t.Context(), c.Nonce))
		}
		must(t, other.Cancel(t.Context(), Rekey, api.Secret{}))
		if !answered {
			wantErr(t, n.Answer(t.Context(), c.Nonce), ErrNoCeremony)
		}
		if !opens(t, phys, old[:3]) || opens(t, phys, fresh[:2]) != answered {
			t.Errorf("answered %v: the old shares unseal: %v, the new ones: %v", answered, opens(t, phys, old[:3]), opens(t, phys, fresh[:2]))
		}
		wantErr(t, n.Retire(t.Context(), c.Nonce), ErrNoCeremony)
	}
}

// TestFirstSharesAreMadeOnce has several nodes make the first slot with shares at once.
func TestFirstSharesAreMadeOnce(t *testing.T) {
	phys, dir := mem.Open(), keyDir(t)
	n := newNode(t, phys, dir)
	n.init(t, fileSpec)
	results := make(chan error, 8)
	for range cap(results) {
		each := newNode(t, phys, dir)
		must(t, each.Unseal(t.Context()))
		go func() {
			_, err := each.AddFirst(t.Context(), shamirSpec)
			results <- err
		}()
	}
	made := 0
	for range cap(results) {
		if err := <-results; err == nil {
			made++
		} else if !errors.Is(err, ErrHeld) && !errors.Is(err, store.ErrConflict) {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("%d sets of first shares", made)
	}
}

// TestKillsAreFound is the control of TestRekeySurvivesKills: a rekey that retires
// the old shares before the new ones are handed out is found out.
func TestKillsAreFound(t *testing.T) {
	hasty := func(ctx context.Context, n *node, old []Share, set NewSet, hand func([]Share)) error {
		var fresh []Share
		err := rekeyScript(ctx, n, old, set, func(s []Share) { fresh = s })
		if err == nil {
			hand(fresh)
		}
		return err
	}
	set := newSet
	set.Verify = false
	found := false
	for kill := range 8 {
		_, lost := killedRekey(t, set, kill, true, hasty)
		found = found || lost != ""
	}
	if !found {
		t.Error("losing all shares was not noticed")
	}
}

func TestRotateRoot(t *testing.T) {
	for _, after := range []bool{false, true} {
		phys := mem.Open()
		mortal := &storetest.Mortal{Store: phys}
		n := newNode(t, mortal, keyDir(t))
		n.init(t, fileSpec, fileSpec)
		must(t, n.Unseal(t.Context()))
		must(t, n.b.AddNamespace(t.Context(), "root"))
		mortal.Doom(0, after)
		wantErr(t, n.RotateRoot(t.Context()), storetest.ErrKilled)
		again := newNode(t, phys, n.dir)
		must(t, again.Unseal(t.Context()))
		before := rootKey(t, again)
		must(t, again.RotateRoot(t.Context()))
		if string(before) == string(rootKey(t, again)) {
			t.Error("the root key is the same")
		}
		must(t, again.b.Rotate(t.Context()))
		slots, err := again.ListSlots(t.Context())
		must(t, err)
		for _, s := range slots {
			must(t, again.TestSlot(t.Context(), s.ID))
		}
		_, err = again.AddSlot(t.Context(), shamirSpec)
		must(t, err)
		wantErr(t, again.RotateRoot(t.Context()), ErrPeopleHold)
	}
}

func rootKey(t *testing.T, n *node) (key []byte) {
	must(t, n.b.UseRootKey(func(root []byte) error { key = append(key, root...); return nil }))
	return key
}

// TestStrandedCeremony pins that a ceremony whose slot another one has replaced does
// not stand in the way: no share of anybody could go on with it or cancel it.
func TestStrandedCeremony(t *testing.T) {
	n, old := held(t, mem.Open())
	lost, err := n.Begin(t.Context(), RootToken, CeremonySpec{Proof: old[0].Base64()})
	must(t, err)
	c := n.begin(t, newSet)
	n.show(t, Rekey, c.Nonce, old[0])
	n.show(t, Rekey, c.Nonce, old[1])
	made := n.show(t, Rekey, c.Nonce, old[2])
	if now, _, err := n.CeremonyStatus(t.Context(), RootToken); err != nil || now == nil || now.Nonce != lost.Nonce {
		t.Fatalf("the other ceremony ended while its slot is there: %+v, %v", now, err)
	}
	for _, s := range made.Made.Handed[:2] {
		_, _, err := n.Verify(t.Context(), made.New.Nonce, s.Base64())
		must(t, err)
	}
	if now, _, err := n.CeremonyStatus(t.Context(), RootToken); err != nil || now != nil {
		t.Errorf("a ceremony that nobody can go on with: %+v, %v", now, err)
	}
	fresh := made.Made.Handed
	must(t, n.Cancel(t.Context(), RootToken, fresh[0].Base64()))
	again, err := n.Begin(t.Context(), RootToken, CeremonySpec{Proof: fresh[0].Base64()})
	must(t, err)
	if !n.show(t, RootToken, again.Nonce, fresh[1]).Complete {
		t.Error("the new shares allow no root token")
	}
	c = n.begin(t, newSet)
	n.show(t, Rekey, c.Nonce, fresh[0])
	made = n.show(t, Rekey, c.Nonce, fresh[1])
	must(t, n.RemoveSlot(t.Context(), made.New.Slot))
	if now, _, err := n.CeremonyStatus(t.Context(), Rekey); err != nil || now != nil {
		t.Errorf("a verification of keys that are gone: %+v, %v", now, err)
	}
	n.begin(t, newSet)
}
