package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
)

// Purpose is what holders of shares come together for. At most one ceremony of
// each purpose is under way.
type Purpose string

// The purposes.
const (
	Rekey     Purpose = "rekey"      // replaces a slot's shares with new ones
	RootToken Purpose = "root-token" // allows a new root token
)

// ceremonyLife is how long holders have to hand in their shares. After it, what was
// handed in does not count any more: neither a ceremony that all have forgotten
// nor an old row put back by who can write to the store lasts for ever.
const ceremonyLife = 24 * time.Hour

// Errors of ceremonies. Test with errors.Is.
var (
	// ErrCeremony says that a ceremony of this purpose is under way.
	ErrCeremony = errors.New("seal: a ceremony is under way")
	// ErrNoCeremony says that none is under way.
	ErrNoCeremony = errors.New("seal: no ceremony is under way")
	// ErrNonce says that a share was handed in for another ceremony.
	ErrNonce = errors.New("seal: the nonce is of another ceremony")
	// ErrOtherSet says that a share is of a slot that the ceremony is not about.
	ErrOtherSet = errors.New("seal: the unseal key is of another set")
	// ErrVerifying says that the new shares have been made and await verification.
	ErrVerifying = errors.New("seal: the new unseal keys are waiting to be verified")
	// ErrNotVerifying says that there are no new shares to verify.
	ErrNotVerifying = errors.New("seal: no new unseal keys are waiting to be verified")
	// ErrNoShares says that no key slot has shares that people hold.
	ErrNoShares = errors.New("seal: no key slot has unseal keys")
	// ErrUnproven says that a slot's header has not been opened since headers are
	// listed: who can write to the store might have made up its shares.
	ErrUnproven = errors.New("seal: the key slot has to be tested first")
)

// Ceremony is how far holders have come. It has no share in it: each is
// recognised by its commitment when it is handed in, and only its number is
// kept. So any node goes on where another stopped.
type Ceremony struct {
	Nonce    string     `json:"nonce"`         // names this ceremony
	Begun    time.Time  `json:"begun"`         // it lasts 24 hours
	Slot     string     `json:"slot"`          // id of the slot whose shares count
	Required int        `json:"required"`      // how many of them are needed
	Shown    []int      `json:"shown"`         // numbers of those handed in
	Memo     api.Secret `json:"-"`             // what Begin was told to keep
	New      *NewSet    `json:"new,omitempty"` // of a rekey
}

// NewSet is what a rekey makes.
type NewSet struct {
	Name      string `json:"name"`
	Shares    int    `json:"shares"`
	Threshold int    `json:"threshold"`
	Verify    bool   `json:"verify"`             // the old shares work until the new ones were handed in
	Slot      string `json:"slot,omitempty"`     // id of the new slot, once it is made
	Answered  bool   `json:"answered,omitempty"` // the new shares are answered as good: nothing but Verify and Retire ends the ceremony by a slot
	Nonce     string `json:"nonce,omitempty"`    // names its verification
	Verified  []int  `json:"verified,omitempty"` // numbers of the new shares handed in
}

// Verifying reports whether the new shares have been made, and the old ones not
// yet been retired.
func (c *Ceremony) Verifying() bool { return c != nil && c.New != nil && c.New.Slot != "" }

// ceremonyRow is a ceremony as it is stored, sealed under the root key.
type ceremonyRow struct {
	Version int `json:"version"`
	Ceremony
	Memo string `json:"memo"`
}

const (
	ceremonyVersion = 1
	ceremonyPrefix  = "core/ceremony/"
)

// stage is what a step of a ceremony sees and changes.
type stage struct {
	m       *Manager
	d       *directory
	rows    []*slotRow
	root    []byte
	cluster string
	c       *Ceremony // nil: none is under way
	writes  []store.Write
}

// errUnchanged ends a step that has nothing to write.
var errUnchanged = errors.New("seal: nothing changes")

// step takes a step of a ceremony in one commit, which fails when the ceremony or
// the list of slots has changed meanwhile; then it starts again.
func (m *Manager) step(ctx context.Context, p Purpose, fn func(*stage) error) error {
	var err error
	for attempt := range changeAttempts {
		if attempt == 1 { // who has lost once waits for the others who have, so that nobody loses for ever
			m.losers.Lock()
			defer m.losers.Unlock()
		}
		if err = m.stepOnce(ctx, p, fn); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

func (m *Manager) stepOnce(ctx context.Context, p Purpose, fn func(*stage) error) error {
	if m.barrier.Sealed() {
		return barrier.ErrSealed
	}
	key := ceremonyPrefix + string(p)
	e, err := m.phys.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("seal: reading a ceremony: %w", err)
	}
	d, rows, _, err := m.read(ctx)
	if err != nil {
		return err
	}
	st := &stage{m: m, d: d, rows: rows, cluster: m.barrier.ClusterID()}
	if st.cluster == "" { // sealed meanwhile, and perhaps unsealed again
		return barrier.ErrSealed
	}
	err = m.barrier.UseRootKey(func(root []byte) error {
		st.root = root
		return st.run(e, key, fn)
	})
	if err != nil {
		return err
	}
	checks := []store.Check{{Key: directoryKey, Rev: d.rev}, {Key: key, Rev: e.Rev}}
	_, err = m.phys.Commit(ctx, checks, st.writes)
	return err
}

// run takes a step and encodes what came of it.
func (st *stage) run(e store.Entry, key string, fn func(*stage) error) (err error) {
	if err := st.d.verify(st.root, st.cluster); err != nil {
		return err
	}
	if st.c, err = decodeCeremony(e, st.root, st.cluster, st.m.now()); err != nil {
		return err
	}
	if st.stranded() {
		st.c = nil
	}
	if err := fn(st); err != nil {
		return err
	}
	list, err := st.d.write(st.root, st.cluster)
	if err != nil {
		return err
	}
	own, err := st.encode(key)
	st.writes = append(st.writes, list, own)
	return err
}

// stranded reports whether the slot whose shares are awaited has been taken away, by
// another ceremony or by an operator, so that none counts any more: neither to go on
// nor to cancel. The ceremony is then begun anew.
func (st *stage) stranded() bool {
	switch {
	case st.c == nil:
		return false
	case st.c.Verifying():
		return !slices.Contains(st.d.Slots, st.c.New.Slot)
	}
	return !slices.Contains(st.d.Slots, st.c.Slot)
}

func (st *stage) encode(key string) (store.Write, error) {
	if st.c == nil {
		return store.Write{Key: key, Delete: true}, nil
	}
	plain, err := json.Marshal(ceremonyRow{ceremonyVersion, *st.c, st.c.Memo.Reveal()})
	if err != nil {
		return store.Write{}, fmt.Errorf("seal: encoding a ceremony: %w", err)
	}
	k, err := barrier.DeriveKey(st.root, st.cluster, barrier.Ceremony)
	if err != nil {
		return store.Write{}, err
	}
	value, err := k.Seal(plain, key)
	return store.Write{Key: key, Value: value}, err
}

// decodeCeremony is the ceremony of a row; nil when there is none, it has
// lasted too long, or its row does not open. It is then begun anew.
func decodeCeremony(e store.Entry, root []byte, cluster string, now time.Time) (*Ceremony, error) {
	if !e.Exists() {
		return nil, nil
	}
	k, err := barrier.DeriveKey(root, cluster, barrier.Ceremony)
	if err != nil {
		return nil, err
	}
	plain, err := k.Open(e.Value, e.Key)
	if errors.Is(err, barrier.ErrOpen) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var row ceremonyRow
	if err := json.Unmarshal(plain, &row); err != nil || row.Version != ceremonyVersion {
		return nil, &barrier.DamagedError{Key: e.Key, Reason: "the ceremony has an unknown form"}
	}
	row.Ceremony.Memo = api.NewSecret(row.Memo)
	if !row.Verifying() && now.Sub(row.Begun) >= ceremonyLife {
		return nil, nil
	}
	return &row.Ceremony, nil
}

// gatherer is a slot that people hold the shares of, whose header is as it was
// made.
func (st *stage) gatherer(id string) (*slotRow, Gatherer, error) {
	for _, r := range st.rows {
		g, ok := st.m.kinds[r.Kind].(Gatherer)
		if !ok || r.ID != id {
			continue
		}
		if !st.d.vouches(r) {
			return nil, nil, fmt.Errorf("%w: %s", ErrUnproven, id)
		}
		return r, g, nil
	}
	return nil, nil, fmt.Errorf("%w: %q", ErrNoSlot, id)
}

// check sees whether a share is one of a slot's.
func (st *stage) check(id string, s Share) error {
	r, g, err := st.gatherer(id)
	if err != nil {
		return err
	}
	ok, err := g.Accept(r.Params, s)
	if err == nil && !ok {
		err = fmt.Errorf("%w: number %d", ErrOtherSet, s.index)
	}
	return err
}

// owner is the id of the slot that a share is of.
func (st *stage) owner(s Share) (string, error) {
	for _, r := range st.rows {
		g, ok := st.m.kinds[r.Kind].(Gatherer)
		if !ok {
			continue
		}
		if ok, err := g.Accept(r.Params, s); err != nil || ok {
			return r.ID, err
		}
	}
	return "", fmt.Errorf("%w: number %d", ErrUnknownSet, s.index)
}

// first is the slot with shares that was made first.
func (st *stage) first() (string, error) {
	for _, r := range st.rows {
		if _, ok := st.m.kinds[r.Kind].(Gatherer); ok {
			return r.ID, nil
		}
	}
	return "", ErrNoShares
}

// discard takes a slot away.
func (st *stage) discard(id string) {
	st.d.drop(id)
	st.writes = append(st.writes, store.Write{Key: slotPrefix + id, Delete: true})
}

// CeremonyStatus is the ceremony that is under way, nil when there is none, and
// how many shares one takes that is begun without naming a slot, 0 when there are
// none.
func (m *Manager) CeremonyStatus(ctx context.Context, p Purpose) (*Ceremony, int, error) {
	var c *Ceremony
	required := 0
	err := m.step(ctx, p, func(st *stage) error {
		c = st.c
		id, err := st.first()
		if errors.Is(err, ErrNoShares) {
			return errUnchanged
		}
		at := slices.IndexFunc(st.rows, func(r *slotRow) bool { return r.ID == id })
		s, err := m.describe(st.rows[at].header)
		if required = s.Threshold; err == nil {
			err = errUnchanged
		}
		return err
	})
	return c, required, err
}

// CeremonySpec says what to begin.
type CeremonySpec struct {
	Slot  string     // id of the slot whose shares count; empty: that of Proof, else the first with shares
	Proof api.Secret // a share of it; empty: the caller has shown otherwise that he may begin
	New   *NewSet    // of a rekey: Name, Shares, Threshold and Verify
	Memo  api.Secret // kept with the ceremony
}

// Begin begins a ceremony. A share given as proof counts as handed in, unless it
// is the only one needed. ErrCeremony: one is under way.
func (m *Manager) Begin(ctx context.Context, p Purpose, spec CeremonySpec) (*Ceremony, error) {
	var begun *Ceremony
	err := m.step(ctx, p, func(st *stage) error {
		if st.c != nil {
			return ErrCeremony
		}
		c := &Ceremony{Nonce: api.NewUUID(), Begun: m.now().UTC(), Slot: spec.Slot, Memo: spec.Memo, New: spec.New}
		if err := st.admit(c, spec.Proof); err != nil {
			return err
		}
		st.c, begun = c, c
		return nil
	})
	return begun, err
}

// admit finds the slot of a new ceremony and takes the share it begins with.
func (st *stage) admit(c *Ceremony, proof api.Secret) error {
	var s Share
	var err error
	if !proof.Empty() {
		if s, err = ParseShare(proof); err != nil {
			return err
		}
		if c.Slot == "" {
			c.Slot, err = st.owner(s)
		}
	} else if c.Slot == "" {
		c.Slot, err = st.first()
	}
	if err != nil {
		return err
	}
	r, g, err := st.gatherer(c.Slot)
	if err != nil {
		return err
	}
	if _, c.Required, err = g.Size(r.Params); err != nil || proof.Empty() {
		return err
	}
	if err := st.check(c.Slot, s); err != nil {
		return err
	}
	if c.Required > 1 {
		c.Shown = []int{s.Index()}
	}
	return nil
}

// vouch reports with an error whether a share is one of the ceremony's slot or,
// when none is under way, of any: whether its holder has a say.
func (st *stage) vouch(text api.Secret) error {
	s, err := ParseShare(text)
	if err != nil {
		return err
	}
	if st.c == nil {
		_, err := st.owner(s)
		return err
	}
	err = st.check(st.c.Slot, s)
	if st.c.Verifying() && (errors.Is(err, ErrOtherSet) || errors.Is(err, ErrNoSlot)) {
		return st.check(st.c.New.Slot, s)
	}
	return err
}

// Cancel ends a ceremony, if one is under way, and takes away the slot that it
// has made, unless its shares were answered as good: somebody may hold no others. With
// a proof, that has to be a share of the slots it is about; an empty one says that the
// caller has shown otherwise that he may.
func (m *Manager) Cancel(ctx context.Context, p Purpose, proof api.Secret) error {
	return m.step(ctx, p, func(st *stage) error {
		if !proof.Empty() {
			if err := st.vouch(proof); err != nil {
				return err
			}
		}
		if st.c.Verifying() && !st.c.New.Answered && slices.Contains(st.d.Slots, st.c.Slot) {
			st.discard(st.c.New.Slot)
		}
		st.c = nil
		return nil
	})
}
