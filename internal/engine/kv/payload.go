package kv

import (
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// payload is a version's bytes on their way into the store.
type payload struct {
	id    uuid
	kind  kind
	body  []byte
	guard store.Rev // of the trash row that guards the chunks; 0: no chunks
}

// newPayload names a payload with a fresh UUID.
func newPayload(k kind, body []byte) (*payload, error) {
	if len(body) > maxPayload {
		return nil, api.Errorf(api.TooLarge, "the value is larger than %d bytes", maxPayload)
	}
	id, err := newUUID()
	return &payload{id: id, kind: k, body: body}, err
}

// version describes the payload as a version that is not yet numbered.
func (p *payload) version(c *api.Call) version {
	v := version{id: p.id, kind: p.kind, created: c.Now.UTC(), size: uint64(len(p.body)), chunks: p.chunks()}
	if v.inline = len(p.body) <= inlineBytes; v.inline {
		v.body = p.body
	}
	return v
}

// makeRoom gives payloads of a secret rows of their own, the oldest first, until
// those left in the metadata row are few bytes.
func (ch *change) makeRoom() {
	room := inlineRoom
	for i := range ch.secret.versions {
		v := &ch.secret.versions[i]
		if room -= len(v.body); room >= 0 || !v.inline {
			continue
		}
		ch.tx.Put(chunkKey(v.id, 0, 0), payloadRow(v.id, v.body))
		v.inline, v.body = false, nil
	}
}

func (p *payload) chunks() uint64 {
	if len(p.body) <= chunkBytes {
		return 0
	}
	return uint64((len(p.body) + chunkBytes - 1) / chunkBytes)
}

// chunkKey is the storage key of a payload's i-th row.
func chunkKey(id uuid, i, chunks int) string {
	if chunks == 0 {
		return prefixPayload + id.key()
	}
	return fmt.Sprintf("%s%s/%04x", prefixPayload, id.key(), i)
}

// payloadHead is format and UUID, before the bytes: a row that was put back from
// another time or place does not carry the UUID that the metadata names.
const payloadHead = 1 + 16

func payloadRow(id uuid, part []byte) []byte {
	b := make([]byte, 0, payloadHead+len(part))
	b = append(b, formatPayload)
	b = append(b, id[:]...)
	return append(b, part...)
}

// stage writes the chunks of a large payload, which no metadata names yet. A
// trash row that is written first, and the upkeep that is asked for before it, see
// to it that they are erased if the write is never finished. A small payload
// needs no stage.
func (p *payload) stage(c *api.Call) error {
	n := int(p.chunks())
	if n == 0 {
		return nil
	}
	t := trash{due: c.Now.Add(staging), payloads: []doomed{{p.id, n}}}
	if err := c.Later(t.due); err != nil {
		return fmt.Errorf("staging a value: %w", err)
	}
	rev, err := c.Store.Commit(c, nil, []store.Write{{Key: prefixTrash + p.id.key(), Value: t.encode()}})
	if err != nil {
		return fmt.Errorf("staging a value: %w", err)
	}
	p.guard = rev
	for i := range n {
		part := p.body[i*chunkBytes : min(len(p.body), (i+1)*chunkBytes)]
		w := store.Write{Key: chunkKey(p.id, i, n), Value: payloadRow(p.id, part)}
		if _, err := c.Store.Commit(c, nil, []store.Write{w}); err != nil {
			return fmt.Errorf("staging a value: %w", err)
		}
	}
	return nil
}

// attach adds what makes the payload reachable to a commit.
func (p *payload) attach(tx *store.Tx) error {
	switch {
	case len(p.body) <= inlineBytes:
		return nil
	case p.chunks() == 0:
		tx.Put(chunkKey(p.id, 0, 0), payloadRow(p.id, p.body))
		return nil
	}
	key := prefixTrash + p.id.key()
	e, err := tx.Get(key)
	if err != nil {
		return err
	}
	if e.Rev != p.guard {
		return api.Errorf(api.Unavailable, "the write took so long that it was given up; try again")
	}
	tx.Delete(key)
	return nil
}

// discard erases the staged chunks of a write that failed with err.
func (p *payload) discard(c *api.Call, err error) error {
	if p == nil || p.guard == 0 {
		return err
	}
	return errors.Join(err, sweep(c, c.Store, prefixTrash+p.id.key(), c.Now.Add(staging)))
}

// errGone says that a payload row is absent.
var errGone = errors.New("kv: the payload is absent")

// readPayload reads a version's bytes, which are not nil. They belong to the store.
func readPayload(c *api.Call, v *version) ([]byte, error) {
	switch {
	case v.inline:
		return v.body, nil
	case v.chunks == 0:
		return readChunk(c, v, 0)
	}
	body := make([]byte, 0, min(v.size, maxPayload))
	for i := range int(v.chunks) {
		part, err := readChunk(c, v, i)
		if err != nil {
			return nil, err
		}
		body = append(body, part...)
	}
	if uint64(len(body)) != v.size {
		return nil, fmt.Errorf("version %d: %w: %d bytes of %d", v.number, store.ErrCorrupt, len(body), v.size)
	}
	return body, nil
}

func readChunk(c *api.Call, v *version, i int) ([]byte, error) {
	e, err := c.Store.Get(c, chunkKey(v.id, i, int(v.chunks)))
	if err != nil {
		return nil, fmt.Errorf("version %d: %w", v.number, err)
	}
	if !e.Exists() {
		return nil, errGone
	}
	b := e.Value
	switch {
	case len(b) < payloadHead || uuid(b[1:payloadHead]) != v.id, v.chunks == 0 && uint64(len(b)-payloadHead) != v.size:
		return nil, fmt.Errorf("version %d: %w: the payload is not the one that its metadata names", v.number, store.ErrCorrupt)
	case b[0] != formatPayload:
		return nil, fmt.Errorf("version %d: %w", v.number, errFormat)
	}
	return b[payloadHead:], nil
}
