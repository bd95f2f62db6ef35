package barrier

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// rotateAttempts bounds how often Rotate starts again after a conflict.
const rotateAttempts = 50

// epoch is one generation of the key ring. Numbers start at 1 and only grow.
type epoch struct {
	number    uint32
	installed time.Time
	secret    []byte
}

// ring is the key ring as it is stored. Epochs are never removed: another node
// may still write under the one before the active one, and each costs 44 bytes.
// An epoch above the active one is installed but not yet used.
type ring struct {
	rev    store.Rev
	active uint32
	epochs []epoch // in order of number, at least one
}

const (
	ringVersion = 1
	ringHeader  = 1 + 4
	epochBytes  = 4 + 8 + KeyBytes
)

// encode is: version 1 B | active 4 B | for each epoch: number 4 B, installed
// (Unix nanoseconds) 8 B, secret 32 B; big endian.
func (r *ring) encode() []byte {
	b := make([]byte, 0, ringHeader+len(r.epochs)*epochBytes)
	b = append(b, ringVersion)
	b = binary.BigEndian.AppendUint32(b, r.active)
	for _, e := range r.epochs {
		b = binary.BigEndian.AppendUint32(b, e.number)
		b = binary.BigEndian.AppendUint64(b, uint64(e.installed.UnixNano()))
		b = append(b, e.secret...)
	}
	return b
}

// decodeRing reads what encode wrote; the secrets are slices of b.
func decodeRing(b []byte) (*ring, error) {
	if len(b) < ringHeader+epochBytes || b[0] != ringVersion || (len(b)-ringHeader)%epochBytes != 0 {
		return nil, errors.New("the key ring's form is unknown")
	}
	r := &ring{active: binary.BigEndian.Uint32(b[1:])}
	for b = b[ringHeader:]; len(b) > 0; b = b[epochBytes:] {
		r.epochs = append(r.epochs, epoch{
			number:    binary.BigEndian.Uint32(b),
			installed: time.Unix(0, int64(binary.BigEndian.Uint64(b[4:]))).UTC(),
			secret:    b[12:epochBytes],
		})
	}
	for i, e := range r.epochs {
		if e.number != uint32(i+1) {
			return nil, errors.New("the key ring's epochs are out of order")
		}
	}
	if r.active == 0 || r.active > r.last() {
		return nil, errors.New("the key ring's active epoch is missing")
	}
	return r, nil
}

// last is the newest epoch's number.
func (r *ring) last() uint32 { return r.epochs[len(r.epochs)-1].number }

// find is the epoch with a number, or nil.
func (r *ring) find(number uint32) *epoch {
	if number == 0 || number > uint32(len(r.epochs)) {
		return nil
	}
	return &r.epochs[number-1]
}

// extends reports whether r holds every epoch of old, unchanged.
func (r *ring) extends(old *ring) bool {
	if r.active < old.active || len(r.epochs) < len(old.epochs) {
		return false
	}
	for i, e := range old.epochs {
		if subtle.ConstantTimeCompare(e.secret, r.epochs[i].secret) != 1 {
			return false
		}
	}
	return true
}

func newEpoch(number uint32, now time.Time) (epoch, error) {
	secret := make([]byte, KeyBytes)
	if _, err := rand.Read(secret); err != nil {
		return epoch{}, fmt.Errorf("barrier: reading random bytes: %w", err)
	}
	return epoch{number: number, installed: now, secret: secret}, nil
}

// seal is the stored form of the ring under the root key.
func (r *ring) seal(root []byte, cluster string) ([]byte, error) {
	box, err := deriveSealer(root, cluster, labelKeyRing, 0)
	if err != nil {
		return nil, err
	}
	plain := r.encode()
	defer clear(plain)
	return box.seal(keyRingKey, plain)
}

// openRing opens a stored ring. Its secrets lie in one buffer, which the caller
// wipes through the returned function.
func openRing(e store.Entry, root []byte, cluster string) (*ring, func(), error) {
	box, err := deriveSealer(root, cluster, labelKeyRing, 0)
	if err != nil {
		return nil, nil, err
	}
	plain, err := box.open(keyRingKey, e.Value)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRootKey, err)
	}
	r, err := decodeRing(plain)
	if err != nil {
		clear(plain)
		return nil, nil, &DamagedError{Key: keyRingKey, Reason: err.Error()}
	}
	r.rev = e.Rev
	return r, func() { clear(plain) }, nil
}

// Rotate installs a new epoch and makes it the active one, in time that does not
// depend on how much is stored: what was written before stays readable under its
// own epoch, and Rewrap brings it forward.
//
// It works in two commits: one installs the epoch, and only after reading
// the ring back does another put it to use. After an error, or a kill between the two,
// call it again: it goes on where it stopped. When nodes rotate at once, one epoch
// may serve them all; each call returns with an epoch active that was not active
// when it began.
func (b *Barrier) Rotate(ctx context.Context) error {
	s, err := b.current()
	if err != nil {
		return err
	}
	if err := s.reloadRing(ctx); err != nil {
		return err
	}
	before := s.activeEpoch()
	for range rotateAttempts {
		var done bool
		err := Erasing(func() (err error) {
			done, err = b.rotateStep(ctx, s, before)
			return err
		})
		if done || (err != nil && !errors.Is(err, store.ErrConflict)) {
			return err
		}
	}
	return fmt.Errorf("barrier: rotation gave up after %d attempts: %w", rotateAttempts, store.ErrConflict)
}

// rotateStep reads the ring and takes the next step on the way to an active
// epoch newer than before.
func (b *Barrier) rotateStep(ctx context.Context, s *session, before uint32) (bool, error) {
	r, wipe, err := s.loadRing(ctx)
	if err != nil {
		return false, err
	}
	defer wipe()
	if r.active > before {
		return true, s.adopt(r)
	}
	if r.last() > r.active {
		r.active = r.last()
	} else {
		e, err := newEpoch(r.last()+1, b.now())
		if err != nil {
			return false, err
		}
		defer clear(e.secret)
		r.epochs = append(r.epochs, e)
	}
	return false, s.writeRing(ctx, r)
}

// writeRing commits r in the place of the revision it was read at.
func (s *session) writeRing(ctx context.Context, r *ring) error {
	var value []byte
	err := s.useRoot(func(root []byte) (err error) {
		value, err = r.seal(root, s.cluster)
		return err
	})
	if err != nil {
		return err
	}
	return s.commitRing(ctx, r.rev, value)
}

// commitRing commits the stored form of a ring in the place of a revision.
func (s *session) commitRing(ctx context.Context, rev store.Rev, value []byte) error {
	_, err := s.phys.Commit(ctx, []store.Check{{Key: keyRingKey, Rev: rev}},
		[]store.Write{{Key: keyRingKey, Value: value}})
	if err != nil {
		return fmt.Errorf("barrier: writing the key ring: %w", err)
	}
	return nil
}
