package lease

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

const (
	// page is how many leases are ended in one commit: four removals each, within
	// store.MaxWrites. Where their engines keep much with them, it takes a few commits.
	page = 24
	// pagesAbreast is how many pages of a sweep are worked on at once, and abreast
	// how many leases of each an engine is asked to take back at once.
	pagesAbreast = 2
	abreast      = 4
	// maxRest bounds how long a sweep rests after a page.
	maxRest = 15 * time.Millisecond
)

// sweep names leases that are taken back together. It is the data of a due-time
// that stands until all of them have ended.
type sweep struct {
	Prefix  string    `json:"prefix,omitempty"` // of their ids
	MountID string    `json:"mount,omitempty"`  // empty: of any
	Holder  string    `json:"holder,omitempty"` // token whose leases they are, instead of Prefix
	Before  time.Time `json:"before,omitzero"`  // issued until then; zero: whenever; with MountID, of tokens alone
	Force   bool      `json:"force,omitempty"`  // forget what an engine does not take back
	Tokens  bool      `json:"tokens,omitempty"` // tokens made below Prefix too
	Turn    string    `json:"turn,omitempty"`   // which of those with the same name it is; empty: it has none beside it
}

// addSweep records a sweep as part of a transaction.
func (s *Store) addSweep(tx *store.Tx, nsID string, sw *sweep, at time.Time) error {
	it, err := sw.item(nsID, at)
	if err != nil {
		return err
	}
	return schedule.Add(tx, it)
}

func (sw *sweep) item(nsID string, at time.Time) (schedule.Item, error) {
	data, err := json.Marshal(sw)
	if err != nil {
		return schedule.Item{}, fmt.Errorf("lease: encode sweep: %w", err)
	}
	return schedule.Item{Namespace: nsID, At: at, Kind: kindSweep, ID: cmp.Or(sw.Turn, rand.Text()), Data: data}, nil
}

// leftover says that engines failed to take leases back, or that damaged rows were passed over.
type leftover struct {
	mu    sync.Mutex
	n     int
	row   error // the first damaged row, if any: what it is of has no due-time at which it is tried again
	cause error // the first failure of others
}

// Error says how many are left.
func (e *leftover) Error() string {
	return fmt.Sprintf("lease: %d could not be taken back: %v", e.n, cmp.Or(e.row, e.cause))
}

// Unwrap is the first damaged row and the first failure.
func (e *leftover) Unwrap() error { return errors.Join(e.row, e.cause) }

// answer is what is told to who has waited.
func (e *leftover) answer() error {
	if e.row != nil {
		return e.row
	}
	return errNotYet(e.n, e.cause)
}

func (e *leftover) add(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	e.cause = cmp.Or(e.cause, err)
}

// pass counts a lease whose row is damaged. In quarantine it may have come with the snapshot, and is held.
func (e *leftover) pass(key string, held bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	if e.row != nil {
		return
	}
	told := &api.Error{Kind: api.Damaged, Err: store.ErrCorrupt, Message: fmt.Sprintf("the row %q of a lease is damaged, so that it has not ended", key),
		Hint: "put the row back, and it is taken back; sys/leases/revoke-force gives it up: what was lent then lives on"}
	if held {
		told.Err = fmt.Errorf("%w: %w", store.ErrCorrupt, ErrQuarantined)
		told.Hint = "put the row back; it may have come with a snapshot, and is neither taken back nor given up before: " + Resume
	}
	e.row = told
}

// run takes back all leases of a sweep and revokes its tokens. It can be cut
// short anywhere. It returns a leftover when engines failed, whose leases have ended and
// are tried again by the schedule, or where rows are damaged, with which the sweep has to go on.
func (s *Store) run(ctx context.Context, nsID string, sw *sweep) error {
	left := &leftover{}
	if err := s.pages(ctx, nsID, sw, left); err != nil {
		return err
	}
	if sw.Tokens {
		if err := s.revokeTokens(ctx, nsID, sw); err != nil {
			return err
		}
	}
	if left.n > 0 {
		return left
	}
	return nil
}

// pages takes back a sweep's leases, a few pages at a time, so that they wait for
// the disk together. It keeps no list in memory.
func (s *Store) pages(ctx context.Context, nsID string, sw *sweep, left *leftover) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	slots := make(chan struct{}, pagesAbreast)
	var work sync.WaitGroup
	for after := ""; ctx.Err() == nil; {
		ls, damaged, next, err := s.next(ctx, nsID, sw, after)
		if err == nil {
			err = s.passOver(ctx, nsID, sw, damaged, left)
		}
		if err != nil {
			stop(err)
			break
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			began := s.Now()
			if err := s.endPage(ctx, ls, sw.Force, left); err != nil {
				stop(err)
			}
			rest(ctx, s.Now().Sub(began)/2)
		})
		if after = next; next == "" {
			break
		}
	}
	work.Wait()
	return context.Cause(ctx)
}

// rest leaves the processors and the disk to others for a while.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(min(d, maxRest))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// passOver counts damaged rows as left. With force they are forgotten: they bear the identifier of a lease and
// nothing else that could be known. In quarantine none is. Where they may be another mount's than the sweep's, they are let be.
func (s *Store) passOver(ctx context.Context, nsID string, sw *sweep, damaged []store.Entry, left *leftover) error {
	if len(damaged) == 0 {
		return nil
	}
	if others, err := s.succeeded(ctx, nsID, sw); err != nil || others {
		return err
	}
	q, err := s.Quarantine(ctx)
	if err != nil {
		return err
	}
	var checks []store.Check
	var gone []store.Write
	for _, e := range damaged {
		if !sw.Force || q.Holds() {
			left.pass(e.Key, q.Holds())
			continue
		}
		s.Log.Error("a lease whose row is damaged was forgotten: what was lent under it may live on", slog.String("row", e.Key))
		checks, gone = append(checks, store.Check{Key: e.Key, Rev: e.Rev}), append(gone, store.Write{Key: e.Key, Delete: true})
		if id, ok := strings.CutPrefix(e.Key, Rows(nsID)); ok {
			gone = append(gone, store.Write{Key: stuckKey(nsID, id), Delete: true})
		}
	}
	if len(gone) == 0 {
		return nil
	}
	_, err = s.Store.Commit(ctx, checks, gone)
	return err
}

// succeeded reports whether another mount lives where the sweep's was. A damaged row there does not say whose it is, and
// the one that lives has its leases taken back by itself.
func (s *Store) succeeded(ctx context.Context, nsID string, sw *sweep) (bool, error) {
	if sw.MountID == "" {
		return false, nil
	}
	table, err := s.Mounts.Table(ctx, nsID)
	if err != nil {
		return false, err
	}
	e := table.Get(sw.Prefix)
	return e != nil && e.ID != sw.MountID, nil
}

// next is a page of a sweep's leases, those of its rows that are damaged, and the key to go on after; empty: it was
// the last.
func (s *Store) next(ctx context.Context, nsID string, sw *sweep, after string) (ls []*Lease, damaged []store.Entry, next string, err error) {
	if sw.Holder != "" {
		return s.nextHeld(ctx, nsID, sw.Holder, after)
	}
	r := store.Prefix(rowKey(nsID, sw.Prefix))
	r.Limit = page
	es, damaged, next, err := s.list(ctx, r, after)
	for _, e := range es {
		l, err := decode(nsID, e)
		switch {
		case err != nil:
			damaged = append(damaged, e)
		case sw.covers(l):
			ls = append(ls, l)
		}
	}
	return ls, damaged, next, err
}

// covers reports whether a lease below the prefix is one of the sweep's.
func (sw *sweep) covers(l *Lease) bool {
	if sw.MountID != "" {
		return sw.MountID == l.MountID
	}
	return sw.Before.IsZero() || !l.Issued.After(sw.Before)
}

// list is one page of a range after a key, those of its entries that are damaged, and the key to go on after.
// They are told of, and must not stop the others.
func (s *Store) list(ctx context.Context, r store.Range, after string) (whole, damaged []store.Entry, next string, err error) {
	if after != "" {
		r = r.After(after)
	}
	whole, damaged, err = store.Sift(ctx, s.Store, r)
	if err != nil {
		return nil, nil, "", fmt.Errorf("lease: list: %w", err)
	}
	if len(whole)+len(damaged) == r.Limit {
		next = max(lastKey(whole), lastKey(damaged))
	}
	for _, e := range damaged {
		s.Log.Error("a row of a lease is damaged and was passed over", slog.String("row", e.Key))
	}
	return whole, damaged, next, nil
}

// lastKey is the key of the last of some entries; empty where there is none.
func lastKey(es []store.Entry) string {
	if len(es) == 0 {
		return ""
	}
	return es[len(es)-1].Key
}

// nextHeld is a page of the leases of a token, and the rows that are damaged of them or of what it holds.
func (s *Store) nextHeld(ctx context.Context, nsID, tokenID, after string) (ls []*Lease, damaged []store.Entry, next string, err error) {
	r := store.Prefix(holding(nsID, tokenID))
	r.Limit = page
	es, damaged, next, err := s.list(ctx, r, after)
	for _, e := range es {
		l, lerr := s.heldBy(ctx, e.Key[len(holding(nsID, tokenID)):], string(e.Value))
		switch {
		case errors.Is(lerr, store.ErrCorrupt):
			damaged = append(damaged, e)
		case lerr != nil:
			return nil, nil, "", lerr
		case l != nil:
			ls = append(ls, l)
		}
	}
	return ls, damaged, next, err
}

// heldBy is the lease that a row of its token is about; nil when it is gone.
func (s *Store) heldBy(ctx context.Context, place, id string) (*Lease, error) {
	in, _, _ := strings.Cut(place, "/")
	n, err := s.Namespaces.ByID(ctx, in)
	if err != nil || n == nil {
		return nil, err // with the namespace, its leases are gone
	}
	return s.load(ctx, in, id)
}

// endPage takes leases back: in one commit they end, and in another those are
// removed that their engines took back.
func (s *Store) endPage(ctx context.Context, ls []*Lease, force bool, left *leftover) error {
	if len(ls) == 0 {
		return nil
	}
	ls, err := s.endAll(ctx, ls, func(*Lease) bool { return false })
	if err != nil {
		return err
	}
	failed := s.revokeAll(ctx, ls)
	if err := ctx.Err(); err != nil {
		return err // what failed may have failed for that
	}
	for id, err := range failed {
		held := errors.Is(err, ErrQuarantined)
		if !held {
			s.Log.Warn("a lease was not taken back", slog.String("lease", id), slog.Bool("forgotten", force), slog.Any("error", err))
		}
		if held || !force {
			left.add(err)
		} else {
			delete(failed, id)
		}
	}
	return s.settle(ctx, ls, failed, func(*store.Tx) {})
}

// current makes leases part of a transaction: at the first attempt as they were
// read before, at later ones read anew, without those that are gone.
func current(tx *store.Tx, ls []*Lease, attempt int) ([]*Lease, error) {
	there := make([]*Lease, 0, len(ls))
	for _, l := range ls {
		if attempt == 0 {
			tx.Require(l.key(), l.rev)
		} else {
			now, err := read(tx, l.NamespaceID, l.ID)
			if err != nil {
				return nil, err
			}
			if l = now; l == nil {
				continue
			}
		}
		there = append(there, l)
	}
	return there, nil
}

// endAll marks leases as ended, all but those that are to be spared, and returns
// them without those that are gone. It takes one commit where that holds them all.
func (s *Store) endAll(ctx context.Context, ls []*Lease, spare func(*Lease) bool) ([]*Lease, error) {
	there, err := s.endTogether(ctx, ls, spare)
	if !errors.Is(err, store.ErrTooLarge) || len(ls) < 2 {
		return there, err
	}
	there, err = s.endAll(ctx, ls[:len(ls)/2], spare)
	if err != nil {
		return nil, err
	}
	more, err := s.endAll(ctx, ls[len(ls)/2:], spare)
	return append(there, more...), err
}

// endTogether is endAll in one commit.
func (s *Store) endTogether(ctx context.Context, ls []*Lease, spare func(*Lease) bool) (there []*Lease, err error) {
	now, attempt := s.Now(), 0
	rev, err := store.Update(ctx, s.Store, func(tx *store.Tx) (err error) {
		there, err = current(tx, ls, attempt)
		there = slices.DeleteFunc(there, spare)
		attempt++
		for i, l := range there {
			if err != nil {
				break
			}
			if l.Ended.IsZero() {
				ended := *l
				ended.Ended, ended.rev = now, 0
				err, there[i] = ended.put(tx, ended.Due), &ended
			}
		}
		return err
	})
	for _, l := range there {
		l.rev = cmp.Or(l.rev, rev)
	}
	return there, err
}

// revokeAll asks the engines of leases to take them back. It returns the failures
// by the keys of the leases.
func (s *Store) revokeAll(ctx context.Context, ls []*Lease) map[string]error {
	var mu sync.Mutex
	failed := map[string]error{}
	slots := make(chan struct{}, abreast)
	var work sync.WaitGroup
	for _, l := range ls {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			if err := s.takeBack(ctx, l); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[l.key()] = err
			}
		})
	}
	work.Wait()
	return failed
}

// settle removes the leases that were taken back, and gives the others a
// due-time at which they are tried again. end is part of the last commit of it,
// which is the only one where that holds them all.
func (s *Store) settle(ctx context.Context, ls []*Lease, failed map[string]error, end func(*store.Tx)) error {
	err := s.settleTogether(ctx, ls, failed, end)
	if !errors.Is(err, store.ErrTooLarge) || len(ls) < 2 {
		return err
	}
	if err := s.settle(ctx, ls[:len(ls)/2], failed, func(*store.Tx) {}); err != nil {
		return err
	}
	return s.settle(ctx, ls[len(ls)/2:], failed, end)
}

// settleTogether is settle in one commit.
func (s *Store) settleTogether(ctx context.Context, ls []*Lease, failed map[string]error, end func(*store.Tx)) error {
	attempt := 0
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		there, err := current(tx, ls, attempt)
		attempt++
		marks := make([]string, 0, len(there))
		for _, l := range there {
			switch {
			case err != nil:
				return err
			case failed[l.key()] == nil:
				l.remove(tx)
				marks = append(marks, l.Quota)
			case l.Failure == "" && l.Due.After(s.Now().Add(retry)):
				late := *l
				err = late.put(tx, s.Now().Add(retry))
			}
		}
		end(tx)
		if err == nil {
			err = s.credit(tx, marks...)
		}
		return err
	})
	return err
}

// revokeTokens revokes the tokens that were made below a path.
func (s *Store) revokeTokens(ctx context.Context, nsID string, sw *sweep) error {
	return s.Tokens.Each(ctx, nsID, func(t *token.Token) error {
		if !shown(t) || !strings.HasPrefix(t.Path+"/", sw.Prefix) || !sw.Before.IsZero() && t.CreationTime.After(sw.Before) {
			return nil
		}
		return s.Tokens.Revoke(ctx, nsID, t.ID)
	})
}
