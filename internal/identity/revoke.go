package identity

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// revokeTokens ends all tokens of an entity, batch tokens and those that they have made for it among them, on every node from the
// answer on. What they lease is taken back in the background. Whoever logs in as it from then on is let in as ever.
func (s *Store) revokeTokens(c *api.Call, q *IDRequest) (*api.None, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		k := key{c.Namespace.ID, string(q.ID)}
		e, err := entityIn(tx, k.namespace, k.id)
		if err != nil {
			return err
		}
		if e == nil { // nobody is to take a slip for the end of a thief's token
			return &api.Error{Kind: api.Invalid, Message: "id: invalid entity id: no entity of this namespace has it, or it has become another", Hint: "find it with identity/lookup/entity"}
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

// Ended reports whether all tokens of the entity that the person was asked for were revoked since one of an epoch was made.
func (p *Person) Ended(epoch int) bool { return epoch < p.since+p.Revocations }
