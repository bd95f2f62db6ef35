package wrapping

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// Routes are the endpoints under sys/ that are about wrapped answers.
func Routes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Write, "wrapping/wrap", (*Store).WrapData),
		api.Handle(api.Read, "wrapping/lookup", (*Store).LookupSelf, api.Public, api.Bearer),
		api.Handle(api.Write, "wrapping/lookup", (*Store).Lookup, api.Public, api.Bearer),
		api.Handle(api.Write, "wrapping/unwrap", (*Store).Unwrap, api.Bearer),
		api.Handle(api.Write, "wrapping/rewrap", (*Store).Rewrap, api.Bearer),
	}
}

// WrapRequest is what to wrap.
type WrapRequest struct {
	Data api.Object `json:"data" api:"body"` // Any members.
}

// WrapAnswer is what was sent; its caller sees where it is kept instead.
type WrapAnswer struct {
	Data api.Object `json:"data" api:"body"` // The members that were sent.
}

// MarshalJSON is the members.
func (a *WrapAnswer) MarshalJSON() ([]byte, error) { return a.Data.MarshalJSON() }

// TokenRequest names a wrapping token.
type TokenRequest struct {
	Token api.Secret `json:"token"` // The wrapping token, also in JWT form; the caller's own when absent.
}

// LookupAnswer is what is known of a wrapped answer before it is taken out.
type LookupAnswer struct {
	CreationPath string       `json:"creation_path" audit:"clear"` // Path whose answer it is.
	CreationTime api.Time     `json:"creation_time"`               // When it was wrapped.
	CreationTTL  api.Duration `json:"creation_ttl"`                // For how long it is kept, from then on.
}

// WrapData wraps what it is sent, for as long as X-Vault-Wrap-TTL says.
func (s *Store) WrapData(c *api.Call, q *WrapRequest) (*WrapAnswer, error) {
	if c.WrapTTL == 0 {
		return nil, &api.Error{Kind: api.Invalid, Message: "endpoint requires response wrapping to be used", Hint: "send X-Vault-Wrap-TTL"}
	}
	return &WrapAnswer{q.Data}, nil
}

// LookupSelf tells where the answer that the caller's token stands for was made,
// and when. It does not use the token up.
func (s *Store) LookupSelf(c *api.Call, _ *api.None) (*LookupAnswer, error) {
	return s.Lookup(c, &TokenRequest{})
}

// Lookup tells where the answer that a token stands for was made, and when. A
// token whose answer was made elsewhere than expected has been exchanged by
// somebody on the way. It does not use the token up.
func (s *Store) Lookup(c *api.Call, q *TokenRequest) (*LookupAnswer, error) {
	t, err := s.find(c, q.Token)
	if err != nil {
		return nil, err
	}
	return &LookupAnswer{t.Path, api.Time{Time: t.CreationTime}, api.Duration(t.CreationTTL)}, nil
}

// Unwrap answers what was wrapped, once: the token is used up. Who finds it used
// up, and did not do it, knows that somebody else has the answer. Where the token
// alone was shown, so that no policy has been asked, an answer that is to be wrapped
// again is kept no longer than before.
func (s *Store) Unwrap(c *api.Call, q *TokenRequest) (*api.Answer, error) {
	t, err := s.find(c, q.Token)
	if err != nil {
		return nil, err
	}
	if c.Caller.TokenID == "" {
		c.WrapTTL = min(c.WrapTTL, t.CreationTTL)
	}
	var kept []byte
	_, err = store.Update(c, s.store, func(tx *store.Tx) (err error) {
		kept, err = s.take(c, tx, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return decode(kept)
}

// Rewrap exchanges a wrapping token for a new one with the same answer and
// creation path. It is kept as long as before from now on; X-Vault-Wrap-TTL can
// make that shorter, and not longer, since no policy has been asked.
func (s *Store) Rewrap(c *api.Call, q *TokenRequest) (*api.WrapInfo, error) {
	old, err := s.find(c, q.Token)
	if err != nil {
		return nil, err
	}
	ttl := old.CreationTTL
	if c.WrapTTL > 0 {
		ttl = min(ttl, c.WrapTTL)
	}
	var kept []byte
	info, err := s.issue(c, old.NamespaceID, old.Path, ttl, func(tx *store.Tx, t *token.Token) (err error) {
		if kept, err = s.take(c, tx, old); err != nil {
			return err
		}
		tx.Put(rowKey(t.NamespaceID, t.ID), kept)
		return nil
	})
	if err != nil {
		return nil, err
	}
	a, err := decode(kept)
	if err == nil {
		info.WrappedAccessor = accessorOf(a)
	}
	return info, err
}
