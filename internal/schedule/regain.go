package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/store"
)

// regain makes rows of a namespace due soon that a run before this one had claimed
// when it was killed. Only a runner that is alone on its store may do that: who claimed
// them cannot be at work any more. It counts as a failed try, so that work which brings the
// node down is not begun again at once, each time.
//
// A row that is claimed lies at the end of its claim, so no more is read than what is due
// within one.
func (r *Runner) regain(ctx context.Context, ns string) error {
	now := r.Now()
	due := store.Prefix(ns + area)
	due.Start = ns + area + stamp(now)
	due.End = ns + area + stamp(now.Add(r.Claim+spread)) + "0" // '0' follows '/'
	due.Limit = maxRows
	for {
		es, err := r.Store.List(ctx, due)
		if err != nil && (!errors.Is(err, store.ErrCorrupt) || len(es) == 0) {
			return fmt.Errorf("schedule: find what was claimed: %w", err)
		}
		for _, e := range es {
			if err := r.regainRow(ctx, e); err != nil {
				return err
			}
		}
		if len(es) < due.Limit {
			return nil
		}
		due = due.After(es[len(es)-1].Key)
	}
}

// regainRow moves a row that another run has claimed; others it leaves alone.
func (r *Runner) regainRow(ctx context.Context, e store.Entry) error {
	it, ok := parse(e.Key)
	var v row
	if !ok || json.Unmarshal(e.Value, &v) != nil || v.Owner == "" || v.Owner == r.Owner {
		return nil
	}
	to := it
	to.At = r.Now().Add(backoff(v.Tries))
	checks, writes, err := moving(it, e.Rev, to, row{Data: v.Data, Tries: v.Tries + 1})
	if err == nil {
		_, err = r.Store.Commit(ctx, checks, writes)
	}
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("schedule: regain: %w", err)
	}
	return nil
}
