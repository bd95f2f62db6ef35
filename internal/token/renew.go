package token

import (
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// RenewRequest asks for a longer life of a token.
type RenewRequest struct {
	Token     api.Secret   `json:"token"`     // The token.
	Increment api.Duration `json:"increment"` // Lifetime from now on; as before when absent.
}

// RenewSelfRequest asks for a longer life of the calling token.
type RenewSelfRequest struct {
	Increment api.Duration `json:"increment"` // Lifetime from now on; as before when absent.
	SelfRequest
}

// RenewAccessorRequest asks for a longer life of the token with an accessor.
type RenewAccessorRequest struct {
	Accessor  string       `json:"accessor"`  // The token's accessor.
	Increment api.Duration `json:"increment"` // Lifetime from now on; as before when absent.
}

func errUnknown() error { return api.Errorf(api.Invalid, "token not found") }

// Renew extends a token of the call's namespace.
func (s *Store) Renew(c *api.Call, req *RenewRequest) (*api.Auth, error) {
	if req.Token.Empty() {
		return nil, errMissingID()
	}
	t, err := s.named(c, req.Token)
	if err != nil {
		return nil, err
	}
	return s.renew(c, t, req.Increment, req.Token)
}

// RenewSelf extends the calling token.
func (s *Store) RenewSelf(c *api.Call, req *RenewSelfRequest) (*api.Auth, error) {
	req.told(c)
	t, err := s.caller(c)
	if err != nil {
		return nil, err
	}
	return s.renew(c, t, req.Increment, c.Caller.Token)
}

// RenewAccessor extends the token with an accessor; the answer is without its text.
func (s *Store) RenewAccessor(c *api.Call, req *RenewAccessorRequest) (*api.Auth, error) {
	t, err := s.ByAccessor(c, req.Accessor)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, errBadAccessor()
	}
	return s.renew(c, t, req.Increment, api.Secret{})
}

// renew extends a token, as it is now. Only one that is alive has a next life.
func (s *Store) renew(c *api.Call, t *Token, increment api.Duration, text api.Secret) (*api.Auth, error) {
	switch {
	case t == nil:
		return nil, errUnknown()
	case t.Type == Batch:
		return nil, api.Errorf(api.Invalid, "batch tokens cannot be renewed")
	case increment < 0:
		return nil, api.Errorf(api.Invalid, "increment: cannot be negative")
	}
	limits, err := s.limitsOf(c, t)
	if err != nil {
		return nil, err
	}
	said, err := s.askMethod(c, t, increment.Std())
	if err != nil {
		return nil, err
	}
	var auth *api.Auth
	var renewed *Token
	var warnings []string
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		warnings = nil
		now, err := read(tx, t.key())
		if err != nil {
			return err
		}
		tm := terms{Limits: limits, asked: increment.Std(), warn: func(w string) { warnings = append(warnings, w) }}
		if now != nil && said != nil {
			now.MaxTTL, now.Period = said.MaxTTL, said.Period
			tm.usual = said.TTL
		}
		if auth, err = s.extend(c, tx, now, tm); err != nil {
			return err
		}
		renewed = now
		return write(tx, now)
	})
	if err == nil {
		err = s.lives(c, renewed)
	}
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		c.Warn(w)
	}
	auth.ClientToken = text
	return auth, nil
}

// askMethod asks the auth method whether a token of its login may be renewed; nil:
// it has nothing to say.
func (s *Store) askMethod(c *api.Call, t *Token, increment time.Duration) (*api.Auth, error) {
	if !t.Login || s.Renewal == nil || !t.Alive(c.Now) {
		return nil, nil
	}
	said, err := s.Renewal(c, t, increment)
	if err != nil || said == nil {
		return nil, err
	}
	names, err := Spec{Auth: *said}.policies()
	if err == nil && !slices.Equal(names, t.Policies) {
		err = &api.Error{Kind: api.Invalid, Message: "policies have changed, not renewing", Hint: "log in again"}
	}
	return said, err
}

// extend sets a token's new expiry as part of a transaction.
func (s *Store) extend(c *api.Call, tx *store.Tx, t *Token, tm terms) (*api.Auth, error) {
	switch {
	case t == nil || !t.Alive(c.Now):
		return nil, errUnknown()
	case !t.Renewable || t.ExpireTime.IsZero():
		return nil, api.Errorf(api.Invalid, "lease is not renewable")
	}
	tm.period, tm.explicit, tm.roleMax = t.Period, t.ExplicitMaxTTL, t.MaxTTL
	if tm.usual == 0 {
		tm.usual = t.TTL
	}
	tm.issued, tm.nowIs = t.CreationTime, c.Now
	if t.Role != "" {
		role, err := s.role(c, t.NamespaceID, t.Role)
		if err != nil {
			return nil, err
		}
		if role == nil {
			return nil, api.Errorf(api.Invalid, "original token role could not be found, not renewing")
		}
		tm.period, tm.explicit = role.merge(t, nil)
	}
	ttl, err := tm.resolve()
	if err != nil {
		return nil, err
	}
	t.live(ttl, c.Now)
	t.LastRenewal = c.Now
	if err := setDue(tx, t, t.ExpireTime); err != nil {
		return nil, err
	}
	auth := t.auth("")
	auth.Period = tm.period
	return auth, nil
}

// limitsOf are the limits of the mount where a token was made: the one that
// is called when it is this one. A namespace's limits are not those of another's tokens.
func (s *Store) limitsOf(c *api.Call, t *Token) (Limits, error) {
	if t.NamespaceID == c.Namespace.ID && strings.HasPrefix(t.Path, c.Mount.Path) {
		return s.limits(c.Mount), nil
	}
	if s.Mount == nil {
		return s.System, nil
	}
	l, err := s.Mount(c, t)
	return s.limits(api.Mount{DefaultTTL: l.Default, MaxTTL: l.Max}), err
}
