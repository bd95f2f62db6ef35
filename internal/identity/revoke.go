package identity

import (
	"context"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// revokeTokens ends all tokens of an entity, batch tokens and those that they have made for it among them, on every node from the
// answer on. What they lease is taken back in the background. Whoever logs in as it from then on is let in as ever.
func (s *Store) revokeTokens(c *api.Call, q *IDRequest) (*api.None, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		k := key{c.Namespace.ID, string(q.ID)}
		var e *Entity
		var err error
		if isID(k.id) {
			e, _, err = follow(tx.Get, k)
		}
		switch {
		case err != nil:
			return err
		case e == nil: // nobody is to take a slip for the end of a thief's token
			return &api.Error{Kind: api.Invalid, Message: "id: invalid entity id: no entity of this namespace has it", Hint: "find it with identity/lookup/entity"}
		case e.ID != k.id: // nor to end more than they know of
			return &api.Error{Kind: api.Invalid, Message: "id: invalid entity id: it was merged into another entity, which has its tokens", Hint: "to end all tokens of that one, give its id, " + e.ID}
		}
		e.Revocations = max(e.Revocations+1, int(c.Now.Unix())) // the time sets apart what was counted on and lost when a snapshot was restored
		if err := put(tx, k.entity(), e); err != nil || s.Revoked == nil {
			return err
		}
		return s.Revoked(tx, k.namespace)
	})
	return nil, err
}

// Epoch is a count that grows whenever all tokens of the entity are revoked. A token that is made for it keeps that.
func (p *Person) Epoch() int { return p.Revocations }

// Ended reports whether the entity with an identifier, or what it has become, is no more, or all its tokens were revoked since one of an epoch
// was made. It reads what the store has now, and of the entity alone: damaged rows of its groups and aliases are no hindrance.
func (s *Store) Ended(ctx context.Context, nsID, entityID string, epoch int) (bool, error) {
	e, since, err := follow(reading(ctx, s.Store), key{nsID, entityID})
	return err == nil && (e == nil || epoch < since+e.Revocations), err
}

// Ended reports whether all tokens of the entity that the person was asked for were revoked since one of an epoch was made.
func (p *Person) Ended(epoch int) bool { return epoch < p.since+p.Revocations }
