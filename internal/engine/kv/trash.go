package kv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

const (
	staging   = 30 * time.Minute // how long a write of many chunks may take
	eraseNow  = 64               // payload rows that one commit erases beside its own writes
	sweepPage = 100              // trash rows looked at in one go
)

// doomed is a payload to be erased.
type doomed struct {
	id     uuid
	chunks int // 0: one row that is no chunk
}

// trash is a row that names payloads which no metadata names: those of a write
// that is under way, or those that one commit could not erase.
type trash struct {
	due      time.Time // not to be erased before
	payloads []doomed
}

func (t trash) encode() []byte {
	b := make([]byte, 0, 16+18*len(t.payloads))
	b = appendTime(append(b, formatTrash), t.due)
	b = binary.AppendUvarint(b, uint64(len(t.payloads)))
	for _, d := range t.payloads {
		b = binary.AppendUvarint(append(b, d.id[:]...), uint64(d.chunks))
	}
	return b
}

func decodeTrash(row []byte) (trash, error) {
	r := &reader{b: row}
	r.format(formatTrash)
	t := trash{due: r.time()}
	t.payloads = make([]doomed, r.count(17))
	for i := range t.payloads {
		d := doomed{id: r.id()}
		n := r.uvarint()
		if n > maxChunks {
			r.fail(errMalformed)
		}
		d.chunks = int(min(n, maxChunks))
		t.payloads[i] = d
	}
	return t, r.end()
}

// keys are the storage keys of all the rows to be erased.
func (t trash) keys() []string {
	out := make([]string, 0, len(t.payloads)+1)
	for _, d := range t.payloads {
		for i := range max(1, d.chunks) {
			out = append(out, chunkKey(d.id, i, d.chunks))
		}
	}
	return out
}

// erasePayloads erases the payloads that a change drops. Few rows go in the
// change's own commit; of many, a trash row takes note, and its key is returned.
func erasePayloads(ch *change) (key string, err error) {
	if len(ch.erase) == 0 {
		return "", nil
	}
	t := trash{due: ch.Now}
	rows := 0
	for i := range ch.erase {
		v := &ch.erase[i]
		if v.inline {
			continue
		}
		t.payloads = append(t.payloads, doomed{v.id, int(v.chunks)})
		rows += v.rows()
	}
	if rows <= eraseNow {
		for _, k := range t.keys() {
			ch.tx.Delete(k)
		}
		return "", nil
	}
	id, err := newUUID()
	if err != nil {
		return "", err
	}
	key = prefixTrash + id.key()
	ch.tx.Put(key, t.encode())
	return key, nil
}

// Sweep finishes what a crash or a failed write left behind in a mount's store:
// it erases payloads that nothing names. It is safe to run at any time, on any
// number of nodes. now is the current time; a write that began less than half an
// hour before it is left alone. A trash row that cannot be read is reported and
// stops nothing behind it.
func Sweep(ctx context.Context, s store.Store, now time.Time) error {
	r := store.Prefix(prefixTrash)
	r.KeysOnly, r.Limit = true, sweepPage
	var errs []error
	for {
		es, err := s.List(ctx, r)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("sweep: %w", err))...)
		}
		for _, e := range es {
			errs = append(errs, sweep(ctx, s, e.Key, now))
		}
		if len(es) < r.Limit {
			return errors.Join(errs...)
		}
		r = r.After(es[len(es)-1].Key)
	}
}

// sweep erases what one trash row names, when it is due. It first writes the row
// anew: a writer that has not finished by now finds another revision and gives up.
func sweep(ctx context.Context, s store.Store, key string, now time.Time) error {
	e, err := s.Get(ctx, key)
	if err != nil || !e.Exists() {
		return err
	}
	t, err := decodeTrash(e.Value)
	if err != nil {
		return fmt.Errorf("sweep %s: %w", key, err)
	}
	if now.Before(t.due) {
		return nil
	}
	_, err = s.Commit(ctx, []store.Check{{Key: key, Rev: e.Rev}}, []store.Write{{Key: key, Value: e.Value}})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return eraseRows(ctx, s, append(t.keys(), key))
}

// eraseRows removes rows in batches, in order: the trash row comes last.
func eraseRows(ctx context.Context, s store.Store, keys []string) error {
	for len(keys) > 0 {
		n := min(len(keys), store.MaxWrites)
		ws := make([]store.Write, n)
		for i, k := range keys[:n] {
			ws[i] = store.Write{Key: k, Delete: true}
		}
		if _, err := s.Commit(ctx, nil, ws); err != nil {
			return fmt.Errorf("erasing payloads: %w", err)
		}
		keys = keys[n:]
	}
	return nil
}
