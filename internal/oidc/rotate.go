package oidc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// kindRotate is the work of having the next key take over.
const kindRotate = "oidc-rotate"

// maker makes pairs once, however often a commit is tried.
type maker struct {
	alg   string
	pairs []pair
	open  []public
}

// get is the nth pair of an algorithm.
func (m *maker) get(alg string, n int) (pair, public, error) {
	if m.alg != alg {
		*m = maker{alg: alg}
	}
	for len(m.pairs) <= n {
		p, open, err := newPair(alg)
		if err != nil {
			return pair{}, public{}, err
		}
		m.pairs, m.open = append(m.pairs, p), append(m.open, open)
	}
	return m.pairs[n], m.open[n], nil
}

// begin gives a new key its first two pairs: the second is published at once, and signs
// only after a rotation.
func (s *Store) begin(tx *store.Tx, ns, name string, k *keyRow, fresh *maker, now time.Time) error {
	first, firstOpen, err := fresh.get(k.Algorithm, 0)
	if err != nil {
		return err
	}
	next, nextOpen, err := fresh.get(k.Algorithm, 1)
	if err != nil {
		return err
	}
	k.Public, k.Due = []public{firstOpen, nextOpen}, now.Add(k.Period)
	if err := tx.PutJSON(signKey(ns, name), signRow{first, next}); err != nil {
		return err
	}
	return s.keep(tx, ns, name, k)
}

// turn has the next pair sign, makes the one after it known, and keeps the public half of
// the one that has signed for as long as that counts.
func (s *Store) turn(tx *store.Tx, ns, name string, k *keyRow, verify time.Duration, fresh *maker, now time.Time) error {
	sign, err := load[signRow](tx, signKey(ns, name))
	if err != nil {
		return err
	}
	if sign == nil || len(k.Public) < 2 {
		return fmt.Errorf("oidc: key %q has nothing to sign with: %w", signKey(ns, name), store.ErrCorrupt)
	}
	next, open, err := fresh.get(k.Algorithm, 0)
	if err != nil {
		return err
	}
	signed, retired := k.Public[0], slices.Clone(k.Public[2:])
	signed.Until = now.Add(verify)
	retired = slices.DeleteFunc(append(retired, signed), func(p public) bool { return !p.live(now) })
	if len(retired) > maxRetired {
		return api.Errorf(api.TooMany, "the key has been rotated %d times, and what it signed before counts still; wait, or rotate with a verification_ttl of 0", len(retired))
	}
	schedule.Remove(tx, k.item(ns, name))
	k.Public = append([]public{k.Public[1], open}, retired...)
	k.Due = now.Add(k.Period)
	if err := tx.PutJSON(signKey(ns, name), signRow{sign.Next, next}); err != nil {
		return err
	}
	return s.keep(tx, ns, name, k)
}

// RotateRequest has the next key take over.
type RotateRequest struct {
	Name            api.Name      `path:"name"`             // Name of the key.
	VerificationTTL *api.Duration `json:"verification_ttl"` // For how long what it has signed counts yet; absent: as the key says.
}

// rotateKey has the next key take over now.
func (s *Store) rotateKey(c *api.Call, q *RotateRequest) (*api.None, error) {
	if q.VerificationTTL != nil && (*q.VerificationTTL < 0 || q.VerificationTTL.Std() > maxSpan) {
		return nil, api.Errorf(api.Invalid, "verification_ttl: is negative, or longer than ten years")
	}
	if err := s.ensureDefault(c, string(q.Name)); err != nil {
		return nil, err
	}
	ns, name, fresh := c.Namespace.ID, string(q.Name), &maker{}
	return nil, s.change(c, ns, func(tx *store.Tx) error {
		k, err := load[keyRow](tx, keyKey(ns, name))
		if err != nil {
			return err
		}
		if k == nil {
			return &api.Error{Kind: api.NotFound, Message: "name: there is no such key", Hint: "see identity/oidc/key"}
		}
		verify := k.Verify
		api.Set((*api.Duration)(&verify), q.VerificationTTL)
		return s.turn(tx, ns, name, k, verify, fresh, c.Now)
	})
}

// rotateDue has the next key take over when that is due, on one node. A key that was
// rotated or changed meanwhile has a due time of its own.
func (s *Store) rotateDue(ctx context.Context, job *schedule.Job) error {
	now, ns, name, fresh := s.Now(), job.Namespace, string(job.Data), &maker{}
	return s.change(ctx, ns, func(tx *store.Tx) error {
		k, err := load[keyRow](tx, keyKey(ns, name))
		if err != nil || k == nil || k.Due.After(now) {
			return err
		}
		return s.turn(tx, ns, name, k, k.Verify, fresh, now)
	})
}
