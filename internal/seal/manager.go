// Package seal owns what unseals the barrier: key slots, each of which wraps the
// root key on its own, as LUKS does. Any one of them unseals; they are added,
// removed and tested while the server runs, and lie in the store, so that
// every copy of it carries them. The last one cannot be removed.
package seal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
)

// Errors of the manager. Test with errors.Is. Those of the barrier pass through:
// ErrSealed, ErrInitialized, ErrNotInitialized.
var (
	// ErrLastSlot says that the slot is the only one.
	ErrLastSlot = errors.New("seal: the last key slot cannot be removed")
	// ErrUntested says that none of the slots that would stay is known to unseal.
	ErrUntested = errors.New("seal: no other key slot is known to unseal")
	// ErrNoSlot says that there is no slot with the given id.
	ErrNoSlot = errors.New("seal: no such key slot")
	// ErrDirectory says that the stored list of key slots is not as the holders
	// of the root key made it.
	ErrDirectory = errors.New("seal: the list of key slots was changed by somebody else")
	// ErrSlotKey says that a slot opens, but holds another root key.
	ErrSlotKey = errors.New("seal: the key slot holds another root key")
	// ErrHeld says that there is a key slot with shares already.
	ErrHeld = errors.New("seal: people hold unseal keys already")
	// ErrKind says that the server has no key slots of the given kind.
	ErrKind = errors.New("seal: this server has no key slots of kind")
	// ErrUnderWay says that shares are being handed in, and who wants them forgotten
	// has shown none.
	ErrUnderWay = errors.New("seal: unseal keys are being handed in")
	// ErrFewShares says that a slot needs more unseal keys than were given.
	ErrFewShares = errors.New("seal: not enough unseal keys")
)

// changeAttempts bounds how often a change of the slots is tried again when
// another node changes them at the same time.
const changeAttempts = 20

// Manager unseals a barrier and keeps its key slots. It is safe for concurrent use.
type Manager struct {
	barrier *barrier.Barrier
	phys    store.Store
	kinds   Kinds
	now     func() time.Time

	losers sync.Mutex // held by the one step of a ceremony that is tried again

	mu       sync.Mutex
	attempts map[string]*attempt // by slot id
	opened   *slotRow            // the last that unsealed by shares; nil: none has, or it is confirmed
}

// NewManager is a manager of b's slots. phys is the store below b, now the clock
// that dates slots.
func NewManager(b *barrier.Barrier, phys store.Store, kinds Kinds, now func() time.Time) *Manager {
	return &Manager{barrier: b, phys: phys, kinds: kinds, now: now, attempts: map[string]*attempt{}}
}

// InitConfig says which slots a new cluster begins with; at least one.
type InitConfig struct {
	Slots []SlotSpec
}

// NewSlot is a slot just made, with the shares to hand out: they are kept nowhere.
type NewSlot struct {
	Slot
	Handed []Share
}

// draft is a slot that is not yet stored.
type draft struct {
	header
	created Created
}

// Initialized reports whether the store holds a key ring and so key slots.
func (m *Manager) Initialized(ctx context.Context) (bool, error) {
	return m.barrier.Initialized(ctx)
}

// Init makes the root key, the key ring and the first slots, all in one commit.
// The barrier stays sealed. Of many who initialize at once exactly one succeeds
// and the others get barrier.ErrInitialized; any other error from the store leaves
// it open whether it was done: ask Initialized.
func (m *Manager) Init(ctx context.Context, cfg InitConfig) ([]NewSlot, error) {
	if done, err := m.Initialized(ctx); err != nil {
		return nil, err
	} else if done {
		return nil, barrier.ErrInitialized
	}
	if len(cfg.Slots) == 0 {
		return nil, errors.New("seal: a cluster begins with at least one key slot")
	}
	drafts, err := m.draftAll(ctx, cfg.Slots)
	defer wipe(drafts)
	if err != nil {
		return nil, errors.Join(err, m.forget(ctx, drafts))
	}
	err = m.initialize(ctx, drafts)
	if errors.Is(err, barrier.ErrInitialized) {
		return nil, errors.Join(err, m.forget(ctx, drafts))
	}
	if err != nil {
		return nil, err
	}
	return m.handOut(drafts)
}

func (m *Manager) initialize(ctx context.Context, drafts []draft) error {
	root := make([]byte, barrier.KeyBytes)
	defer clear(root)
	if _, err := rand.Read(root); err != nil {
		return fmt.Errorf("seal: reading random bytes: %w", err)
	}
	return m.barrier.Initialize(ctx, root, func(cluster string) ([]store.Write, error) {
		d := &directory{}
		for _, s := range drafts {
			if err := d.add(s.header); err != nil {
				return nil, err
			}
		}
		first, err := d.write(root, cluster)
		writes := []store.Write{first}
		for _, s := range drafts {
			w, wrapErr := wrapSlot(s.header, s.created.Key, cluster, root)
			writes, err = append(writes, w), errors.Join(err, wrapErr)
		}
		return writes, err
	})
}

// draftAll creates what the specs ask for; after an error, what it had made.
func (m *Manager) draftAll(ctx context.Context, specs []SlotSpec) ([]draft, error) {
	var drafts []draft
	for _, spec := range specs {
		d, err := m.draft(ctx, spec)
		if err != nil {
			return drafts, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

func (m *Manager) draft(ctx context.Context, spec SlotSpec) (draft, error) {
	kind, err := m.kinds.find(spec.Kind)
	if err != nil {
		return draft{}, err
	}
	id, err := newSlotID()
	if err != nil {
		return draft{}, err
	}
	created, err := kind.Create(ctx, id, spec)
	if err != nil {
		return draft{}, err
	}
	h := header{ID: id, Kind: spec.Kind, Name: spec.Name, Created: m.now().UTC(), Params: created.Params}
	return draft{h, created}, nil
}

// forget destroys what drafts that were not stored keep outside the store.
func (m *Manager) forget(ctx context.Context, drafts []draft) error {
	var failed error
	for _, d := range drafts {
		if f, ok := m.kinds[d.Kind].(Forgetter); ok {
			failed = errors.Join(failed, f.Forget(ctx, d.Params))
		}
	}
	return failed
}

func wipe(drafts []draft) {
	for _, d := range drafts {
		clear(d.created.Key)
	}
}

func (m *Manager) handOut(drafts []draft) ([]NewSlot, error) {
	made := make([]NewSlot, len(drafts))
	for i, d := range drafts {
		slot, err := m.describe(d.header)
		if err != nil {
			return nil, err
		}
		made[i] = NewSlot{Slot: slot, Handed: d.created.Shares}
	}
	return made, nil
}

func (m *Manager) describe(h header) (Slot, error) {
	s := Slot{ID: h.ID, Kind: h.Kind, Name: h.Name, Created: h.Created}
	g, ok := m.kinds[h.Kind].(Gatherer)
	if !ok {
		return s, nil
	}
	var err error
	if s.Shares, s.Threshold, err = g.Size(h.Params); err != nil {
		return s, &barrier.DamagedError{Key: slotPrefix + h.ID, Reason: err.Error()}
	}
	return s, nil
}

// ListSlots is every slot, in the order they were made. Damaged slots do not
// hide the others: they are left out and named in the error, a
// *barrier.DamagedError for each.
func (m *Manager) ListSlots(ctx context.Context) ([]Slot, error) {
	d, rows, damaged, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	slots := make([]Slot, 0, len(rows))
	for _, r := range rows {
		s, err := m.describe(r.header)
		damaged = errors.Join(damaged, err)
		s.Tested = slices.Contains(d.Tested, r.ID)
		slots = append(slots, s)
	}
	return slots, damaged
}

// read is the directory and the slots it lists that can be read; damaged joins
// what is wrong with the others.
func (m *Manager) read(ctx context.Context) (d *directory, rows []*slotRow, damaged, err error) {
	e, err := m.row(ctx, directoryKey)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("seal: reading the list of key slots: %w", err)
	}
	if !e.Exists() {
		return nil, nil, nil, m.noList(ctx)
	}
	if d, err = decodeDirectory(e); err != nil {
		return nil, nil, nil, err
	}
	for _, id := range d.Slots {
		r, err := m.readSlot(ctx, id)
		switch {
		case err == nil:
			rows = append(rows, r)
		case errors.Is(err, store.ErrCorrupt):
			damaged = errors.Join(damaged, err)
		default:
			return nil, nil, nil, fmt.Errorf("seal: reading a key slot: %w", err)
		}
	}
	return d, rows, damaged, nil
}

// row reads a row below the barrier. One that the store itself finds damaged is named.
func (m *Manager) row(ctx context.Context, key string) (store.Entry, error) {
	e, err := m.phys.Get(ctx, key)
	if errors.Is(err, store.ErrCorrupt) {
		return e, &barrier.DamagedError{Key: key, Reason: "the store cannot read it"}
	}
	return e, err
}

// noList is what it means that there is no list of key slots: in a store with a key ring it
// was lost.
func (m *Manager) noList(ctx context.Context) error {
	if done, err := m.Initialized(ctx); err != nil || !done {
		return errors.Join(err, barrier.ErrNotInitialized)
	}
	return &barrier.DamagedError{Key: directoryKey, Reason: "the list of key slots is missing"}
}

// readSlot reads the row of a slot that the list has.
func (m *Manager) readSlot(ctx context.Context, id string) (*slotRow, error) {
	e, err := m.row(ctx, slotPrefix+id)
	if err == nil && !e.Exists() {
		return nil, &barrier.DamagedError{Key: slotPrefix + id, Reason: "the slot is missing"}
	}
	if err != nil {
		return nil, err
	}
	return decodeSlot(e)
}

// AddSlot makes a further slot. The barrier must be unsealed.
func (m *Manager) AddSlot(ctx context.Context, spec SlotSpec) (NewSlot, error) {
	return m.addSlot(ctx, spec, func(*directory) error { return nil })
}

// AddFirst is AddSlot for the first slot with shares; ErrHeld when there is one
// already, by whichever node it was made.
func (m *Manager) AddFirst(ctx context.Context, spec SlotSpec) (NewSlot, error) {
	return m.addSlot(ctx, spec, func(d *directory) error {
		for _, id := range d.Slots {
			r, err := m.slot(ctx, id)
			if errors.Is(err, store.ErrCorrupt) {
				continue
			}
			if err != nil {
				return err
			}
			if _, held := m.kinds[r.Kind].(Gatherer); held {
				return ErrHeld
			}
		}
		return nil
	})
}

// addSlot makes a slot if the list that it comes into passes.
func (m *Manager) addSlot(ctx context.Context, spec SlotSpec, pass func(*directory) error) (NewSlot, error) {
	if m.barrier.Sealed() {
		return NewSlot{}, barrier.ErrSealed
	}
	made, err := m.draft(ctx, spec)
	if err != nil {
		return NewSlot{}, err
	}
	drafts := []draft{made}
	defer wipe(drafts)
	err = m.change(ctx, func(d *directory, cluster string, root []byte) ([]store.Check, []store.Write, error) {
		if err := errors.Join(pass(d), d.add(made.header)); err != nil {
			return nil, nil, err
		}
		w, err := wrapSlot(made.header, made.created.Key, cluster, root)
		return []store.Check{{Key: w.Key}}, []store.Write{w}, err
	})
	if errors.Is(err, store.ErrConflict) || errors.Is(err, ErrDirectory) || errors.Is(err, ErrHeld) || errors.Is(err, barrier.ErrSealed) {
		return NewSlot{}, errors.Join(err, m.forget(ctx, drafts)) // nothing was written
	}
	if err != nil {
		return NewSlot{}, err
	}
	out, err := m.handOut(drafts)
	if err != nil {
		return NewSlot{}, err
	}
	return out[0], nil
}

// RemoveSlot removes a slot, and what it keeps outside the store. It refuses
// the last one with ErrLastSlot, and with ErrUntested when of those that would
// stay every one needs people and none has passed TestSlot. Who has copied the
// store and holds the slot's key can still unseal the copy. The barrier must be
// unsealed.
func (m *Manager) RemoveSlot(ctx context.Context, id string) error {
	if m.barrier.Sealed() {
		return barrier.ErrSealed
	}
	row, err := m.slot(ctx, id)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err // a damaged slot can be removed like any other
	}
	_, rows, _, err := m.read(ctx)
	if err != nil {
		return err
	}
	err = m.change(ctx, func(d *directory, _ string, _ []byte) ([]store.Check, []store.Write, error) {
		err := m.strike(d, id, rows)
		return nil, []store.Write{{Key: slotPrefix + id, Delete: true}}, err
	})
	if err != nil || row == nil {
		return err
	}
	return m.forget(ctx, []draft{{header: row.header}})
}

// strike takes a slot off the list unless that could lock everybody out. rows
// are the slots that can be read.
func (m *Manager) strike(d *directory, id string, rows []*slotRow) error {
	at := slices.Index(d.Slots, id)
	switch {
	case at < 0:
		return fmt.Errorf("%w: %q", ErrNoSlot, id)
	case len(d.Slots) == 1:
		return ErrLastSlot
	}
	d.drop(id)
	if !slices.ContainsFunc(rows, func(r *slotRow) bool { return m.sound(d, r) }) {
		return ErrUntested
	}
	return nil
}

// sound reports whether a slot of the list needs no people or has been tested.
func (m *Manager) sound(d *directory, r *slotRow) bool {
	_, alone := m.kinds[r.Kind].(Opener)
	return slices.Contains(d.Slots, r.ID) && (alone || slices.Contains(d.Tested, r.ID))
}

// slot reads one slot that the directory lists.
func (m *Manager) slot(ctx context.Context, id string) (*slotRow, error) {
	e, err := m.phys.Get(ctx, slotPrefix+id)
	if err != nil {
		return nil, fmt.Errorf("seal: reading a key slot: %w", err)
	}
	if !e.Exists() {
		return nil, fmt.Errorf("%w: %q", ErrNoSlot, id)
	}
	return decodeSlot(e)
}

// edit changes the directory and gives the writes that go with it.
type edit func(d *directory, cluster string, root []byte) ([]store.Check, []store.Write, error)

// change applies an edit to the directory and its slots in a single commit.
func (m *Manager) change(ctx context.Context, fn edit) error {
	var err error
	for range changeAttempts {
		if err = m.changeOnce(ctx, fn); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("seal: changing the key slots: %w", err)
}

func (m *Manager) changeOnce(ctx context.Context, fn edit) error {
	e, err := m.phys.Get(ctx, directoryKey)
	if err != nil {
		return fmt.Errorf("seal: reading the list of key slots: %w", err)
	}
	d, err := decodeDirectory(e)
	if err != nil {
		return err
	}
	cluster := m.barrier.ClusterID()
	if cluster == "" { // sealed meanwhile, and perhaps unsealed again
		return barrier.ErrSealed
	}
	checks := []store.Check{{Key: directoryKey, Rev: d.rev}}
	var writes []store.Write
	err = m.barrier.UseRootKey(func(root []byte) error {
		if err := d.verify(root, cluster); err != nil {
			return err
		}
		more, slots, err := fn(d, cluster, root)
		if err != nil {
			return err
		}
		list, err := d.write(root, cluster)
		checks, writes = append(checks, more...), append(slots, list)
		return err
	})
	if err != nil {
		return err
	}
	_, err = m.phys.Commit(ctx, checks, writes)
	return err
}

// verify reports with ErrDirectory a list that the root key's holders did not make.
func (d *directory) verify(root []byte, cluster string) error {
	code, err := d.code(root, cluster)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(code, d.Code) != 1 {
		return ErrDirectory
	}
	return nil
}

// TestSlot sees whether a slot would unseal: by itself, or with as many of its
// shares as it needs. nil means that it would, and that the slot is now listed
// as tested. The barrier must be unsealed.
func (m *Manager) TestSlot(ctx context.Context, id string, shares ...api.Secret) error {
	if m.barrier.Sealed() {
		return barrier.ErrSealed
	}
	row, err := m.tryOpen(ctx, id, shares)
	if err != nil {
		return err
	}
	return m.markTested(ctx, row)
}

// tryOpen reads a slot and sees whether it holds the root key.
func (m *Manager) tryOpen(ctx context.Context, id string, shares []api.Secret) (*slotRow, error) {
	row, err := m.slot(ctx, id)
	if err != nil {
		return nil, err
	}
	key, err := m.slotKey(ctx, row.header, shares)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	found, err := row.unwrap(key, m.barrier.ClusterID())
	if err != nil {
		return nil, err
	}
	defer clear(found)
	return row, m.barrier.UseRootKey(func(root []byte) error {
		if subtle.ConstantTimeCompare(found, root) != 1 {
			return ErrSlotKey
		}
		return nil
	})
}

// markTested lists a slot that was opened as tested, unless it is.
func (m *Manager) markTested(ctx context.Context, row *slotRow) error {
	err := m.change(ctx, func(d *directory, _ string, _ []byte) ([]store.Check, []store.Write, error) {
		marked := slices.Contains(d.Tested, row.ID)
		switch {
		case !slices.Contains(d.Slots, row.ID):
			return nil, nil, fmt.Errorf("%w: %q", ErrNoSlot, row.ID)
		case marked && d.vouches(row):
			return nil, nil, errMarked
		case !marked:
			d.Tested = append(d.Tested, row.ID)
		}
		d.vouch(row.ID, row.encoded)
		return nil, nil, nil
	})
	if errors.Is(err, errMarked) {
		return nil
	}
	return err
}

// errMarked ends a change that has nothing to do.
var errMarked = errors.New("seal: the slot is listed as tested already")

// slotKey gets a slot's key, from shares where people hold it.
func (m *Manager) slotKey(ctx context.Context, h header, texts []api.Secret) ([]byte, error) {
	kind, err := m.kinds.find(h.Kind)
	if err != nil {
		return nil, err
	}
	if o, ok := kind.(Opener); ok {
		return o.Recover(ctx, h.Params)
	}
	g, ok := kind.(Gatherer)
	if !ok {
		return nil, fmt.Errorf("seal: a slot of kind %q cannot be opened", h.Kind)
	}
	shares, err := acceptAll(g, h.Params, texts)
	if err != nil {
		return nil, err
	}
	return g.Combine(h.Params, shares)
}

func acceptAll(g Gatherer, params json.RawMessage, texts []api.Secret) ([]Share, error) {
	var shares []Share
	for _, text := range texts {
		s, err := ParseShare(text)
		if err != nil {
			return nil, err
		}
		ok, err := g.Accept(params, s)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%w: number %d", ErrUnknownSet, s.index)
		}
		shares = append(shares, s)
	}
	return shares, nil
}
