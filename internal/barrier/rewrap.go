package barrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of one step of Rewrap: small enough that a writer rarely meets one, and
// within what every engine takes in a commit.
const (
	rewrapPage     = 64
	rewrapBytes    = 256 << 10
	rewrapAttempts = 20
	// maxReported bounds how many damaged entries a run names in its error.
	maxReported = 100
)

// Progress is how far a run of Rewrap has come.
type Progress struct {
	Epoch     uint32 `json:"epoch"`     // everything is brought under this epoch
	Cursor    string `json:"cursor"`    // rows of the store below before this key are done
	Seen      int    `json:"seen"`      // rows looked at
	Rewrapped int    `json:"rewrapped"` // rows that were under an older epoch
	Damaged   int    `json:"damaged"`   // rows that do not open, left as they are
}

// rewrapping is one run.
type rewrapping struct {
	*session
	progress Progress
	rev      store.Rev // of the progress row
	bad      []error
}

// Rewrap seals anew, under the active epoch, everything that older epochs
// sealed: entries and namespace keys. Plaintext does not change, but revisions
// do. It works beside writers: an entry that changes meanwhile is read again. Its
// progress is stored with each step, so that after a kill or an error the next
// call goes on where the last one stopped; a new epoch starts it over. Nodes that
// run it at once share the work. report, if not nil, is called after each step.
//
// Damaged entries are left as they are, and named in the error once everything
// else is done (100 of them at most).
func (b *Barrier) Rewrap(ctx context.Context, report func(Progress)) error {
	s, err := b.current()
	if err != nil {
		return err
	}
	if err := s.reloadRing(ctx); err != nil {
		return err
	}
	w := &rewrapping{session: s}
	if err := w.resume(ctx); err != nil {
		return err
	}
	for done := false; !done; {
		if done, err = w.step(ctx); err != nil {
			return err
		}
		if report != nil {
			report(w.progress)
		}
	}
	return errors.Join(w.bad...)
}

// resume reads the stored progress, or begins when there is none for this epoch.
func (w *rewrapping) resume(ctx context.Context) error {
	e, err := w.phys.Get(ctx, progressKey)
	if err != nil {
		return fmt.Errorf("barrier: reading the rewrap's progress: %w", err)
	}
	active := w.activeEpoch()
	w.rev, w.progress = e.Rev, Progress{Epoch: active, Cursor: namespacePrefix}
	if !e.Exists() {
		return nil
	}
	plain, err := w.openWrapped(ctx, labelProgress, e)
	if errors.Is(err, store.ErrCorrupt) {
		return nil // starting over is safe: what is done already is skipped
	}
	if err != nil {
		return err
	}
	var p Progress
	if err := json.Unmarshal(plain, &p); err == nil && p.Epoch == active {
		w.progress = p
	}
	return nil
}

// step does one page, and commits it together with the progress.
func (w *rewrapping) step(ctx context.Context) (done bool, err error) {
	es, err := w.phys.List(ctx, store.Range{
		Start: w.progress.Cursor, End: store.PrefixEnd(entryPrefix), Limit: rewrapPage,
	})
	if err != nil {
		return false, fmt.Errorf("barrier: listing for the rewrap: %w", err)
	}
	if len(es) == 0 {
		return true, w.finish(ctx)
	}
	es = firstBytes(es, rewrapBytes)
	p := &page{next: w.progress}
	for _, e := range es {
		if err := w.renew(ctx, e, p); err != nil {
			return false, err
		}
	}
	p.next.Cursor = es[len(es)-1].Key + "\x00"
	return false, w.commit(ctx, p)
}

// page is the outcome of one step before it is committed.
type page struct {
	checks []store.Check
	writes []store.Write
	next   Progress
	bad    []error
}

// firstBytes is as many entries as hold limit bytes together, but at least one.
func firstBytes(es []store.Entry, limit int) []store.Entry {
	size := 0
	for i, e := range es {
		size += len(e.Key) + len(e.Value)
		if size > limit && i > 0 {
			return es[:i]
		}
	}
	return es
}

// renew adds to p what brings one row under the active epoch.
func (w *rewrapping) renew(ctx context.Context, e store.Entry, p *page) error {
	p.next.Seen++
	value, err := w.renewed(ctx, e)
	switch {
	case errors.Is(err, store.ErrCorrupt):
		p.next.Damaged++
		p.bad = append(p.bad, err)
		return nil
	case errors.Is(err, ErrNoNamespace), errors.Is(err, ErrNamespaceSealed):
		return nil // dropped: nobody can read it, nor has to; sealed: a run after it was unsealed does it
	case err != nil:
		return err
	case value == nil:
		return nil
	}
	p.next.Rewrapped++
	p.checks = append(p.checks, store.Check{Key: e.Key, Rev: e.Rev})
	p.writes = append(p.writes, store.Write{Key: e.Key, Value: value})
	return nil
}

// renewed is a row's value under the active epoch, or nil when it needs none.
func (w *rewrapping) renewed(ctx context.Context, e store.Entry) ([]byte, error) {
	id, isSpace := strings.CutPrefix(e.Key, namespacePrefix)
	isEntry := strings.HasPrefix(e.Key, entryPrefix)
	if !isSpace && !isEntry || isSpace && (string(e.Value) == dropped || string(e.Value) == sealedMark) {
		return nil, nil
	}
	name := strings.TrimPrefix(e.Key, entryPrefix)
	mark := ""
	if isSpace {
		mark, _, e.Value = cutAbove(e.Value)
	}
	number, err := messageID(e.Value)
	if err != nil {
		return nil, damaged(name, err)
	}
	if number == w.progress.Epoch {
		return nil, nil
	}
	if isSpace {
		defer w.evict(id)
		value, err := w.renewWrapped(ctx, e)
		return append([]byte(mark), value...), err
	}
	return w.renewEntry(ctx, e)
}

func (w *rewrapping) renewWrapped(ctx context.Context, e store.Entry) ([]byte, error) {
	plain, err := w.openWrapped(ctx, labelNamespace, e)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return w.sealWrapped(ctx, labelNamespace, e.Key, plain)
}

func (w *rewrapping) renewEntry(ctx context.Context, e store.Entry) ([]byte, error) {
	name := e.Key[len(entryPrefix):]
	ns, err := namespaceOf(name)
	if err != nil {
		return nil, err
	}
	plain, err := w.openEntry(ctx, ns, e)
	if err != nil {
		return nil, err
	}
	defer clear(plain.Value)
	sealed, err := w.sealWrite(ctx, store.Write{Key: name, Value: plain.Value})
	return sealed.Value, err
}

// commit writes a page with its progress in one commit. When something has
// changed meanwhile nothing is written: the step is then done again, from the
// progress as it is stored, and row by row if it was a row that changed.
func (w *rewrapping) commit(ctx context.Context, p *page) error {
	rev, err := w.commitAs(ctx, p)
	if err == nil {
		w.rev, w.progress = rev, p.next
		w.report(p.bad)
		return nil
	}
	if !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("barrier: writing a rewrap step: %w", err)
	}
	before := w.rev
	if err := w.resume(ctx); err != nil || w.rev != before {
		return err
	}
	return w.oneByOne(ctx, p)
}

func (w *rewrapping) commitAs(ctx context.Context, p *page) (store.Rev, error) {
	plain, err := json.Marshal(p.next)
	if err != nil {
		return 0, err
	}
	value, err := w.sealWrapped(ctx, labelProgress, progressKey, plain)
	if err != nil {
		return 0, err
	}
	checks := append(p.checks, store.Check{Key: progressKey, Rev: w.rev})
	return w.phys.Commit(ctx, checks, append(p.writes, store.Write{Key: progressKey, Value: value}))
}

// oneByOne brings a page's rows forward each in a commit of its own, then
// commits the progress alone.
func (w *rewrapping) oneByOne(ctx context.Context, p *page) error {
	for _, c := range p.checks {
		if err := w.one(ctx, c.Key); err != nil {
			return err
		}
	}
	alone := &page{next: p.next, bad: p.bad}
	rev, err := w.commitAs(ctx, alone)
	if errors.Is(err, store.ErrConflict) {
		return w.resume(ctx) // another node has gone ahead
	}
	if err != nil {
		return fmt.Errorf("barrier: writing the rewrap's progress: %w", err)
	}
	w.rev, w.progress = rev, p.next
	w.report(p.bad)
	return nil
}

func (w *rewrapping) one(ctx context.Context, key string) error {
	for range rewrapAttempts {
		e, err := w.phys.Get(ctx, key)
		if err != nil || !e.Exists() {
			return err
		}
		single := &page{}
		if err := w.renew(ctx, e, single); err != nil || len(single.writes) == 0 {
			return err
		}
		_, err = w.phys.Commit(ctx, single.checks, single.writes)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("barrier: rewrap: %q changes too often: %w", strings.TrimPrefix(key, entryPrefix), store.ErrConflict)
}

func (w *rewrapping) report(bad []error) {
	w.bad = append(w.bad, bad[:min(len(bad), maxReported-len(w.bad))]...)
}

// finish removes the progress: the next run looks at everything again.
func (w *rewrapping) finish(ctx context.Context) error {
	_, err := w.phys.Commit(ctx, []store.Check{{Key: progressKey, Rev: w.rev}},
		[]store.Write{{Key: progressKey, Delete: true}})
	if err == nil || errors.Is(err, store.ErrConflict) {
		return nil // in a conflict another node has finished, or begun the next run
	}
	return fmt.Errorf("barrier: finishing the rewrap: %w", err)
}
