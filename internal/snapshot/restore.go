package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
)

// abreast is how many commits are under way at once: engines write many together.
const abreast = 8

// A commit of a restore is within what every engine takes, its check and row included.
const (
	batchRows  = store.MaxWrites - 10
	batchBytes = store.MaxCommitBytes / 2
)

// Restore puts a snapshot into an empty store. One whose restore was interrupted counts
// as empty. Nothing is written before the snapshot's header is found good. After any
// other error than ErrNotEmpty the store may hold a part and says so: it can be
// neither initialised nor unsealed until a restore has finished. The store begins in
// quarantine unless the snapshot's source is gone for good.
func Restore(ctx context.Context, s store.Store, r *framed.Reader, gone bool, now func() time.Time) (*Overview, error) {
	header := r.Header()
	if err := fleet.Readable(header.Format); err != nil {
		return nil, err
	}
	t, err := begin(ctx, s, now)
	if err != nil {
		return nil, err
	}
	if err := t.copy(ctx, r); err != nil {
		return nil, err
	}
	claim, mac := r.Claim()
	t.gone = gone
	if err := t.finish(ctx, header.Format, claim, mac); err != nil {
		return nil, err
	}
	return &Overview{Held: !gone, Cluster: header.Cluster, Revision: header.Revision, Taken: header.Taken.Format(time.RFC3339), Rows: claim.Rows, Bytes: claim.Bytes}, nil
}

// target is a store that a snapshot is being put into.
type target struct {
	store store.Store
	mark  mark
	gone  bool          // the source has ended for good
	last  []store.Write // what makes the store an initialised one
}

// begin makes sure that the store is empty and marks it. Whoever began before on the
// same store is fenced off: each of its commits demands the mark that it made.
func begin(ctx context.Context, s store.Store, now func() time.Time) (*target, error) {
	was, err := readMark(ctx, s)
	if err != nil {
		return nil, err
	}
	if was != nil && was.Done {
		return nil, ErrNotEmpty
	}
	checks := []store.Check{{Key: barrier.KeyRing}, {Key: barrier.RestoreKey}}
	if was != nil {
		checks[1].Rev = was.rev
	} else if err := empty(ctx, s); err != nil {
		return nil, err
	}
	t := &target{store: s, mark: mark{Started: now().UTC()}}
	w, err := t.mark.write()
	if err != nil {
		return nil, err
	}
	t.mark.rev, err = s.Commit(ctx, checks, []store.Write{w})
	switch {
	case errors.Is(err, store.ErrConflict):
		return nil, fmt.Errorf("%w: it was initialised, or another restore began, just now", ErrNotEmpty)
	case err != nil:
		return nil, fmt.Errorf("beginning the restore: %w", err)
	case was == nil:
		return t, nil
	}
	return t, t.clear(ctx)
}

// empty returns ErrNotEmpty when a store holds anything but what nodes say of themselves.
func empty(ctx context.Context, s store.Store) error {
	return each(ctx, s, true, func(e store.Entry) error {
		if left(e.Key) {
			return nil
		}
		return ErrNotEmpty
	})
}

// clear removes what an unfinished restore has left.
func (t *target) clear(ctx context.Context) error {
	var batch []store.Write
	flush := func() error {
		err := t.commit(ctx, batch)
		batch = nil
		return err
	}
	err := each(ctx, t.store, true, func(e store.Entry) error {
		if left(e.Key) {
			return nil
		}
		batch = append(batch, store.Write{Key: e.Key, Delete: true})
		if len(batch) < batchRows {
			return nil
		}
		return flush()
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	return err
}

// commit writes rows, unless another restore has begun.
func (t *target) commit(ctx context.Context, writes []store.Write) error {
	_, err := t.store.Commit(ctx, []store.Check{{Key: barrier.RestoreKey, Rev: t.mark.rev}}, writes)
	switch {
	case errors.Is(err, store.ErrConflict):
		return ErrOvertaken
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	return nil
}

// copy writes all rows but those that are written last, some commits at a time.
func (t *target) copy(ctx context.Context, r *framed.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan []store.Write)
	var work sync.WaitGroup
	for range abreast {
		work.Go(func() {
			for b := range batches {
				if err := t.commit(ctx, b); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := t.read(ctx, r, batches)
	close(batches)
	work.Wait()
	if cause := context.Cause(ctx); cause != nil { // a commit failed, or the caller gave up
		err = cause
	}
	if err != nil && !errors.Is(err, ErrOvertaken) && !errors.Is(err, ErrUnfinished) {
		err = fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	return err
}

// read reads the snapshot to its end and hands its rows on.
func (t *target) read(ctx context.Context, r *framed.Reader, to chan<- []store.Write) error {
	var batch []store.Write
	size := 0
	send := func() error {
		select {
		case to <- batch:
			batch, size = nil, 0
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for {
		key, value, err := r.Next()
		if errors.Is(err, io.EOF) {
			return t.whole(batch, send)
		}
		if err == nil {
			err = t.takes(key, value)
		}
		if err != nil {
			return err
		}
		w := store.Write{Key: key, Value: append([]byte(nil), value...)}
		if key == barrier.KeyRing {
			t.last = append(t.last, w)
			continue
		}
		n := len(key) + len(value)
		if len(batch) == batchRows || len(batch) > 0 && size+n > batchBytes {
			if err := send(); err != nil {
				return err
			}
		}
		batch, size = append(batch, w), size+n
	}
}

// takes refuses a row that no snapshot of ours holds, or that no engine takes.
func (t *target) takes(key string, value []byte) error {
	if left(key) {
		return fmt.Errorf("%w: it holds a row of nodes", framed.ErrDamaged)
	}
	return store.Validate(nil, []store.Write{{Key: key, Value: value}})
}

// whole sends the last batch of a snapshot that was read to its end.
func (t *target) whole(batch []store.Write, send func() error) error {
	if len(t.last) == 0 {
		return fmt.Errorf("%w: it has no key ring", framed.ErrDamaged)
	}
	if len(batch) == 0 {
		return nil
	}
	return send()
}

// finish makes the store an initialised one, which only its keys open. Everything else
// is there and durable.
func (t *target) finish(ctx context.Context, format int, c framed.Claim, mac []byte) error {
	done := mark{Started: t.mark.Started, Done: true, Header: c.Header, Rows: c.Rows, Bytes: c.Bytes, Content: c.Content[:], MAC: mac, Gone: t.gone}
	w, err := done.write()
	if err != nil {
		return err
	}
	form, err := fleet.FormatRow(format)
	if err != nil {
		return err
	}
	return t.commit(ctx, append(t.last, w, form))
}
