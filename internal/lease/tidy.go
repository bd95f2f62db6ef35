package lease

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// errEnough ends a visit early.
var errEnough = errors.New("lease: enough")

// overdue is how long after its time a lease counts as forgotten by the schedule,
// whose slowest try comes more often.
const overdue = time.Hour

// tidy ends leases whose token is gone, puts those back into the schedule that
// it has lost, and removes rows of tokens' leases that are gone.
func (s *Store) tidy(ctx context.Context, job *schedule.Job) error {
	var ended, removed int
	err := s.each(ctx, rowKey(job.Namespace, ""), func(e store.Entry) error {
		l, err := decode(job.Namespace, e)
		if err != nil {
			return err
		}
		lost, err := s.lost(ctx, l)
		if err != nil || !lost {
			return err
		}
		ended++
		return s.reschedule(ctx, l)
	})
	if err != nil {
		return err
	}
	err = s.each(ctx, job.Namespace+"/lease/of/", func(e store.Entry) error {
		in := strings.Split(strings.TrimPrefix(e.Key, job.Namespace+"/lease/of/"), "/")
		l, err := s.load(ctx, in[min(1, len(in)-1)], string(e.Value))
		if errors.Is(err, store.ErrCorrupt) {
			return nil // it is there; the lease's own row was told of above
		}
		if err != nil || l != nil {
			return err
		}
		_, err = s.Store.Commit(ctx, []store.Check{{Key: e.Key, Rev: e.Rev}}, []store.Write{{Key: e.Key, Delete: true}})
		if errors.Is(err, store.ErrConflict) {
			return nil // it went with its lease, which ended at this moment
		}
		removed++
		return err
	})
	s.Log.Info("leases were tidied", slog.String("namespace", job.Namespace), slog.Int("ended", ended), slog.Int("rows_removed", removed))
	return err
}

// lost reports whether a lease should have ended long ago, or its token is gone.
func (s *Store) lost(ctx context.Context, l *Lease) (bool, error) {
	now := s.Now()
	if l.Failure == "" && (l.Expires.Before(now.Add(-overdue)) || !l.Ended.IsZero() && l.Ended.Before(now.Add(-overdue))) {
		return true, nil
	}
	if l.Holder == "" || !l.Ended.IsZero() {
		return false, nil
	}
	t, err := s.Tokens.ByID(ctx, l.HolderNS, l.Holder)
	return err == nil && t == nil, err
}

// reschedule ends a lease at once.
func (s *Store) reschedule(ctx context.Context, old *Lease) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		l, err := read(tx, old.NamespaceID, old.ID)
		if err != nil || l == nil {
			return err
		}
		if l.Ended.IsZero() {
			l.Ended = s.Now()
		}
		return l.put(tx, s.Now())
	})
	return err
}

// each visits the entries with a prefix, a page at a time.
func (s *Store) each(ctx context.Context, prefix string, visit func(store.Entry) error) error {
	r := store.Prefix(prefix)
	r.Limit = 256
	for after := ""; ; {
		es, _, next, err := s.list(ctx, r, after)
		if err != nil {
			return err
		}
		for _, e := range es {
			if err := visit(e); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}
