package seal

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/store"
)

// Rows of the store, beside those of the barrier.
const (
	directoryKey = "core/seal"
	slotPrefix   = "core/slot/"
)

const (
	slotIDBytes = 8
	slotVersion = 1
	slotHeader  = 1 + 4
)

// Slot is a key slot: it wraps the root key independently of the others.
type Slot struct {
	ID        string    // 16 hexadecimal digits
	Kind      string    // see Kinds
	Name      string    // for people; may be empty
	Created   time.Time // when it was made
	Shares    int       // shares there are; 0 when nobody holds any
	Threshold int       // shares needed
	Tested    bool      // TestSlot has succeeded since it was made
}

// header is the part of a slot that is stored in the clear. It is authenticated
// with the wrapped key: who changes it makes the slot useless.
type header struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Name    string          `json:"name,omitempty"`
	Created time.Time       `json:"created"`
	Params  json.RawMessage `json:"params"`
}

// slotRow is a slot as it is stored: version 1 B | length of the header 4 B |
// header, JSON | the root key, sealed with the header's bytes as its context.
type slotRow struct {
	header
	encoded []byte
	wrapped []byte
}

func newSlotID() (string, error) {
	b := make([]byte, slotIDBytes)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("seal: reading random bytes: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// wrapSlot is the row that wraps root under the slot's key.
func wrapSlot(h header, slotKey []byte, cluster string, root []byte) (store.Write, error) {
	return wrapWith(barrier.SlotWrap, slotPrefix+h.ID, h, slotKey, cluster, root)
}

// wrapWith is the row, at key, that wraps secret under the slot's key.
func wrapWith(l barrier.Label, key string, h header, slotKey []byte, cluster string, secret []byte) (store.Write, error) {
	encoded, err := json.Marshal(h)
	if err != nil {
		return store.Write{}, fmt.Errorf("seal: encoding a slot: %w", err)
	}
	k, err := barrier.DeriveKey(slotKey, cluster, l)
	if err != nil {
		return store.Write{}, err
	}
	wrapped, err := k.Seal(secret, string(encoded))
	if err != nil {
		return store.Write{}, err
	}
	row := binary.BigEndian.AppendUint32([]byte{slotVersion}, uint32(len(encoded)))
	return store.Write{Key: key, Value: slices.Concat(row, encoded, wrapped)}, nil
}

// decodeSlot reads a row. Damage is a *barrier.DamagedError.
func decodeSlot(e store.Entry) (*slotRow, error) {
	s, err := decodeSlotRow(e)
	if err == nil && slotPrefix+s.ID != e.Key {
		return nil, &barrier.DamagedError{Key: e.Key, Reason: "the slot is another's"}
	}
	return s, err
}

// decodeSlotRow reads a row, whosever it is.
func decodeSlotRow(e store.Entry) (*slotRow, error) {
	bad := func(reason string) (*slotRow, error) {
		return nil, &barrier.DamagedError{Key: e.Key, Reason: reason}
	}
	if len(e.Value) < slotHeader || e.Value[0] != slotVersion {
		return bad("the slot's form is unknown")
	}
	rest, size := e.Value[slotHeader:], binary.BigEndian.Uint32(e.Value[1:])
	if uint64(len(rest)) < uint64(size) {
		return bad("the slot is cut off")
	}
	s := &slotRow{encoded: rest[:size], wrapped: rest[size:]}
	if err := json.Unmarshal(s.encoded, &s.header); err != nil {
		return bad("the slot's header is no JSON")
	}
	return s, nil
}

// unwrap is the root key; the caller wipes it.
func (s *slotRow) unwrap(slotKey []byte, cluster string) ([]byte, error) {
	return s.unwrapWith(barrier.SlotWrap, slotPrefix+s.ID, slotKey, cluster)
}

// unwrapWith undoes wrapWith; the caller wipes what it answers.
func (s *slotRow) unwrapWith(l barrier.Label, key string, slotKey []byte, cluster string) ([]byte, error) {
	k, err := barrier.DeriveKey(slotKey, cluster, l)
	if err != nil {
		return nil, err
	}
	secret, err := k.Open(s.wrapped, string(s.encoded))
	if errors.Is(err, barrier.ErrOpen) {
		return nil, &barrier.DamagedError{Key: key, Reason: "its key does not open it"}
	}
	return secret, err
}

// directory lists the slots. Every change of the set of slots goes through its
// row, so that the last one cannot be removed by two at once; and its
// code, made with the root key, shows at unsealing whether the list was changed by
// somebody else.
type directory struct {
	Version int               `json:"version"`
	Slots   []string          `json:"slots"`
	Tested  []string          `json:"tested,omitempty"`  // those that passed TestSlot
	Digests map[string][]byte `json:"digests,omitempty"` // by id, of the slots whose header is known to be as it was made
	Code    []byte            `json:"code"`
	rev     store.Rev         // of the row it was read from
}

const directoryVersion = 1

func decodeDirectory(e store.Entry) (*directory, error) {
	d := &directory{rev: e.Rev}
	if err := json.Unmarshal(e.Value, d); err != nil || d.Version != directoryVersion {
		return nil, &barrier.DamagedError{Key: directoryKey, Reason: "the list of key slots has an unknown form"}
	}
	return d, nil
}

// listed is what the directory's code vouches for when it has digests. An empty
// list and none are the same bytes, as they are once stored.
type listed struct {
	Slots   []string          `json:"slots"`
	Tested  []string          `json:"tested,omitempty"`
	Digests map[string][]byte `json:"digests"`
}

// vouch lists a slot's header as it is now. The caller made it, or has opened
// the slot with its key.
func (d *directory) vouch(id string, encoded []byte) {
	if d.Digests == nil {
		d.Digests = map[string][]byte{}
	}
	sum := sha256.Sum256(encoded)
	d.Digests[id] = sum[:]
}

// add lists a slot that is just being made.
func (d *directory) add(h header) error {
	encoded, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("seal: encoding a slot: %w", err)
	}
	d.Slots = append(d.Slots, h.ID)
	d.vouch(h.ID, encoded)
	return nil
}

// vouches reports whether a slot's header is as the root key's holders made it.
func (d *directory) vouches(r *slotRow) bool {
	sum := sha256.Sum256(r.encoded)
	return subtle.ConstantTimeCompare(d.Digests[r.ID], sum[:]) == 1
}

// drop takes a slot off all lists.
func (d *directory) drop(id string) {
	is := func(other string) bool { return other == id }
	d.Slots, d.Tested = slices.DeleteFunc(d.Slots, is), slices.DeleteFunc(d.Tested, is)
	delete(d.Digests, id)
}

// code is HMAC-SHA256 over the JSON of the ids: a list of the slots; once one was
// tested, a list of both lists; with digests, an object of all three. No two of
// these can be the same bytes.
func (d *directory) code(root []byte, cluster string) ([]byte, error) {
	k, err := barrier.DeriveKey(root, cluster, barrier.SlotDirectory)
	if err != nil {
		return nil, err
	}
	var list any = d.Slots
	switch {
	case len(d.Digests) > 0:
		list = listed{d.Slots, d.Tested, d.Digests}
	case len(d.Tested) > 0:
		list = [][]string{d.Slots, d.Tested}
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return k.HMAC(nil, encoded)
}

// write is the directory's row, coded with the root key.
func (d *directory) write(root []byte, cluster string) (store.Write, error) {
	code, err := d.code(root, cluster)
	if err != nil {
		return store.Write{}, err
	}
	value, err := json.Marshal(directory{Version: directoryVersion, Slots: d.Slots, Tested: d.Tested, Digests: d.Digests, Code: code})
	return store.Write{Key: directoryKey, Value: value}, err
}
