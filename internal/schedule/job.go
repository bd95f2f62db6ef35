package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Handler does what is due. It must look at the thing itself, since the item may
// be stale, and must be able to run again after a crash; one that ends with
// Job.Done in its own commit has its effect exactly once. Its context ends when
// the node's claim does. After an error it is tried again, later each time.
type Handler func(ctx context.Context, job *Job) error

// Job is an item that this node has claimed.
type Job struct {
	Item
	Tries int // how often a handler has failed on it before

	mu   sync.Mutex
	at   Item // where the claimed row is now: its At is the claim's end
	rev  store.Rev
	done bool
}

// Done makes the end of the job part of a handler's own transaction on the
// whole encrypted store: the commit fails if the claim has been lost.
func (j *Job) Done(tx *store.Tx) {
	j.mu.Lock()
	defer j.mu.Unlock()
	tx.Require(j.at.key(), j.rev)
	tx.Delete(j.at.key())
	j.done = true
}

// claimEnd is when the node's claim ends unless it is extended.
func (j *Job) claimEnd() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.at.At
}

// move moves the claimed row to another moment. ErrConflict: the claim is
// lost, or as good as lost since the row cannot be moved there.
func (j *Job) move(ctx context.Context, s store.Store, to time.Time, v row) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	next := j.at
	next.At = to
	checks, writes, err := moving(j.at, j.rev, next, v)
	if err != nil {
		return err
	}
	rev, err := s.Commit(ctx, checks, writes)
	if err != nil {
		return err
	}
	j.at, j.rev = next, rev
	return nil
}

// remove ends the job, unless the handler's own commit has ended it already.
func (j *Job) remove(ctx context.Context, s store.Store) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.done {
		return nil
	}
	_, err := s.Commit(ctx,
		[]store.Check{{Key: j.at.key(), Rev: j.rev}},
		[]store.Write{{Key: j.at.key(), Delete: true}})
	if errors.Is(err, store.ErrConflict) {
		return nil // another node took over; the thing itself tells it that all is done
	}
	return err
}

// moving is the commit that moves a row from one moment to another. It never
// overwrites: of two rows for one thing that would come to lie on the same
// moment, the second is in conflict and stays where it is.
func moving(from Item, rev store.Rev, to Item, v row) ([]store.Check, []store.Write, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return nil, nil, fmt.Errorf("schedule: encode item: %w", err)
	}
	checks := []store.Check{{Key: from.key(), Rev: rev}}
	if from.key() == to.key() {
		return checks, []store.Write{{Key: to.key(), Value: value}}, nil
	}
	checks = append(checks, store.Check{Key: to.key()})
	return checks, []store.Write{{Key: from.key(), Delete: true}, {Key: to.key(), Value: value}}, nil
}
