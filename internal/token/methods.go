package token

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// The kinds of work that revoke many tokens.
const (
	kindMount    = "token-mount"    // those of an auth method that was disabled
	kindEntities = "token-entities" // those of entities that count no more
)

// MountRemoved records in the transaction that disables an auth method that its
// tokens are to be revoked, after each of some delays: a login that was under way may make one after
// the first. They are refused from that commit on; what they hold is taken back by the schedule.
func (s *Store) MountRemoved(tx *store.Tx, nsID, mountID string, delays ...time.Duration) error {
	for _, d := range delays {
		if err := schedule.Add(tx, schedule.Item{Namespace: nsID, At: s.Now().Add(d), Kind: kindMount, ID: mountID}); err != nil {
			return err
		}
	}
	return nil
}

// endMount revokes the tokens of a mount, and those that they made in namespaces below and
// that have no parent any more.
func (s *Store) endMount(ctx context.Context, job *schedule.Job) error {
	err := s.endAll(ctx, job.Namespace, func(t *Token) (bool, error) { return t.MountID == job.ID && t.MountNamespace == job.Namespace, nil })
	if err != nil {
		return fmt.Errorf("token: ending those of a mount: %w", err)
	}
	return nil
}

// gathering is within how long the orders on entities of a namespace share a job, which goes through all tokens there and below.
const gathering = 5 * time.Second

// EntitiesEnded records in a transaction that tokens of entities of a namespace count no more, and are to be revoked, soon after each
// of some delays: a request that was under way may make one after the first. Config.Nobodys says of each whether it is one.
func (s *Store) EntitiesEnded(tx *store.Tx, nsID string, delays ...time.Duration) error {
	for _, d := range delays {
		at := s.Now().Add(d).Truncate(gathering).Add(gathering) // later than now: no job that runs already stands for it
		if err := schedule.Add(tx, schedule.Item{Namespace: nsID, At: at, Kind: kindEntities, ID: "rows"}); err != nil {
			return err
		}
	}
	return nil
}

// endEntities revokes the tokens of entities of a namespace that count no more, here and in namespaces below.
func (s *Store) endEntities(ctx context.Context, job *schedule.Job) error {
	type made struct {
		entity string
		epoch  int
	}
	known := map[made]bool{} // what an order during the run makes of one, the next run sees
	err := s.endAll(ctx, job.Namespace, func(t *Token) (bool, error) {
		if t.EntityID == "" || t.EntityNamespace() != job.Namespace {
			return false, nil
		}
		m := made{t.EntityID, t.EntityEpoch}
		if gone, ok := known[m]; ok {
			return gone, nil
		}
		gone, err := s.nobodys(ctx, t)
		if err != nil {
			return false, err
		}
		if len(known) == maxKnown {
			clear(known)
		}
		known[m] = gone
		return gone, nil
	})
	if err != nil {
		return fmt.Errorf("token: ending those of entities: %w", err)
	}
	return nil
}

// maxKnown bounds what a job keeps in mind of entities.
const maxKnown = 10_000

// endAll revokes some of the tokens in a namespace and those below it. What fails for one, such as a child in a namespace that is
// sealed, does not keep the others waiting.
func (s *Store) endAll(ctx context.Context, nsID string, which func(*Token) (bool, error)) error {
	spaces := []string{nsID}
	if s.Below != nil {
		below, err := s.Below(ctx, nsID)
		if err != nil {
			return err
		}
		spaces = append(spaces, below...)
	}
	var failed failures
	for _, ns := range spaces {
		prefix := rowKey{ns, ""}.String()
		failed.add(s.each(ctx, prefix, func(e store.Entry) error {
			failed.add(s.endOne(ctx, rowKey{ns, e.Key[len(prefix):]}, e.Value, which))
			return ctx.Err()
		}))
		if ctx.Err() != nil {
			break
		}
	}
	return failed.err()
}

// endOne revokes a token if it is one of some. One that is damaged is passed over.
func (s *Store) endOne(ctx context.Context, k rowKey, row []byte, which func(*Token) (bool, error)) error {
	t, err := decodeToken(k, row)
	if err != nil {
		return s.passOver(err)
	}
	if ends, err := which(t); err != nil || !ends {
		return s.passOver(err)
	}
	return s.revoke(ctx, k, false)
}

// failures is what went wrong with some of many: the first few errors.
type failures struct {
	first []error
	more  int // how many came after those
}

const fewFailures = 4

func (f *failures) add(err error) {
	switch {
	case err == nil:
	case len(f.first) < fewFailures:
		f.first = append(f.first, err)
	default:
		f.more++
	}
}

// err is all of it as one error; nil: nothing went wrong.
func (f *failures) err() error {
	if f.more == 0 {
		return errors.Join(f.first...)
	}
	return fmt.Errorf("%w\nand %d more", errors.Join(f.first...), f.more)
}
