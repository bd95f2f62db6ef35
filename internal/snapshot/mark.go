package snapshot

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
)

// mark is the row core/restore. It lies in the clear: nothing in it is secret.
type mark struct {
	Started time.Time `json:"started"`
	Done    bool      `json:"done"`             // all rows are there; the fields below say which
	Header  []byte    `json:"header,omitempty"` // as it lay in the snapshot
	Rows    uint64    `json:"rows,omitempty"`
	Bytes   uint64    `json:"bytes,omitempty"`
	Content []byte    `json:"content,omitempty"` // SHA-256
	MAC     []byte    `json:"mac,omitempty"`
	Gone    bool      `json:"gone,omitempty"`   // the cluster that the snapshot was taken from has ended for good
	Judged  string    `json:"judged,omitempty"` // the rows were found genuine; names the restore

	rev store.Rev
}

// readMark is the row; nil when there is none.
func readMark(ctx context.Context, r store.Reader) (*mark, error) {
	e, err := r.Get(ctx, barrier.RestoreKey)
	if err != nil || !e.Exists() {
		return nil, err
	}
	m, err := store.DecodeJSON[mark](e)
	if err != nil {
		return nil, err
	}
	m.rev = e.Rev
	return m, nil
}

func (m *mark) write() (store.Write, error) {
	b, err := json.Marshal(m)
	return store.Write{Key: barrier.RestoreKey, Value: b}, err
}

// Admit is asked when the barrier has been unsealed, before anything is read or written
// through it. When the store was restored and not unsealed since, it compares the rows
// with what the snapshot claims and the claim with the key; ErrForged says that they do
// not match. Then it puts the store into quarantine, unless who restored has said that
// the source is gone. Nodes may ask at once: rows change only after one of them has
// noted its judgement, and the row that has each of them ask goes last.
func (k *Keeper) Admit(ctx context.Context) error {
	for {
		m, err := readMark(ctx, k.Store)
		if err != nil || m == nil {
			return err
		}
		if m.Judged == "" {
			err = k.admit(ctx)
		} else {
			err = k.letIn(ctx, m)
		}
		if err != nil && !errors.Is(err, store.ErrConflict) { // in conflict, another node was quicker
			return Refused(err)
		}
	}
}

// admit judges the store and notes that it was found genuine.
func (k *Keeper) admit(ctx context.Context) error {
	m, err := k.judge(ctx)
	if err != nil || m == nil {
		return err
	}
	m.Judged = rand.Text()
	w, err := m.write()
	if err != nil {
		return err
	}
	if _, err = k.Store.Commit(ctx, []store.Check{{Key: barrier.RestoreKey, Rev: m.rev}}, []store.Write{w}); err != nil {
		return fmt.Errorf("noting that the restored store was found genuine: %w", err)
	}
	k.Log.Info("the restored store is what was saved")
	return nil
}

// letIn ends the restore of a store that was found genuine.
func (k *Keeper) letIn(ctx context.Context, m *mark) error {
	if !m.Gone {
		var header framed.Header
		if err := json.Unmarshal(m.Header, &header); err != nil {
			return fmt.Errorf("%w: its header cannot be read", ErrForged)
		}
		if err := k.Isolate(ctx, m.Judged, m.Started, header.Taken); err != nil {
			return err
		}
	}
	_, err := k.Store.Commit(ctx, []store.Check{{Key: barrier.RestoreKey, Rev: m.rev}}, []store.Write{{Key: barrier.RestoreKey, Delete: true}})
	if err != nil {
		return fmt.Errorf("ending the restore: %w", err)
	}
	return nil
}

// judge looks at the store as it is at one moment; it returns no mark when another node
// has judged it before.
func (k *Keeper) judge(ctx context.Context) (m *mark, err error) {
	view, err := k.Store.View(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if m, err = readMark(ctx, view); err != nil || m == nil || m.Judged != "" {
		return nil, err
	}
	if !m.Done {
		return nil, ErrUnfinished
	}
	tally := framed.NewTally()
	err = each(ctx, view, false, func(e store.Entry) error {
		if !left(e.Key) {
			tally.Row(e.Key, e.Value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("comparing the restored rows: %w", err)
	}
	return m, k.compare(ctx, m, tally.Claim(m.Header))
}

// compare is whether what is there is what the snapshot claims, and the claim genuine.
func (k *Keeper) compare(ctx context.Context, m *mark, found framed.Claim) error {
	if found.Rows != m.Rows || found.Bytes != m.Bytes || !bytes.Equal(found.Content[:], m.Content) {
		return fmt.Errorf("%w: rows were changed since", ErrForged)
	}
	ok, err := k.genuine(ctx, found, m.MAC)
	if errors.Is(err, barrier.ErrNoNamespace) || errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	if err == nil && !ok {
		err = fmt.Errorf("%w: the snapshot was not made, or was altered, by who does not have the keys", ErrForged)
	}
	return err
}

// genuine reports whether a snapshot with a claim was made with the keys at hand.
func (k *Keeper) genuine(ctx context.Context, c framed.Claim, mac []byte) (bool, error) {
	key, err := k.key(ctx)
	if err != nil {
		return false, err
	}
	want, err := key.HMAC(nil, c.Message())
	return err == nil && subtle.ConstantTimeCompare(want, mac) == 1, err
}
