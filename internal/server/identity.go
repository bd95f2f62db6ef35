package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/oidc"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// newIdentity keeps who is behind tokens.
func (s *Server) newIdentity(h *house, cache *store.Cache) *identity.Store {
	return identity.New(identity.Config{Store: s.barrier, Cache: cache, Now: s.now, Mount: h.aliasMount, Lineage: h.Namespaces.Lineage,
		Cleared: func(ctx context.Context, nsID, entityID string) error { return h.MFA.Forget(ctx, nsID, entityID) },
		Revoked: func(tx *store.Tx, nsID string) error { return h.Tokens.EntitiesEnded(tx, nsID, 0, lateWriters) },
		Factors: func(ctx context.Context, nsID, entityID string) (map[string]identity.Factor, error) {
			return h.MFA.Factors(ctx, nsID, entityID)
		},
		Unused: s.config.UnusedEntityTTL, Failed: func(err error) { s.log.Warn("an entity that nobody uses could not be deleted", slog.Any("error", err)) },
		Gone: func(err error) bool { return errors.Is(err, barrier.ErrNoNamespace) }})
}

// newMFA keeps the second factors of logins.
func (s *Server) newMFA(h *house, cache *store.Cache) *mfa.Store {
	return mfa.New(mfa.Config{Store: s.barrier, Cache: cache, Identity: h.Identity, Lineage: h.Namespaces.Lineage, Hash: s.hashOfStrangers, Types: h.loginTypes,
		Accessor: h.hasAccessor})
}

// hashOfStrangers is the hash of what somebody shows without a token. Where a namespace is not, or is sealed, nothing can be right,
// and they are told what is told of what is wrong.
func (s *Server) hashOfStrangers(ctx context.Context, nsID, text string) (string, error) {
	hash, err := keys{s.barrier}.TokenHash(ctx, nsID, text)
	if errors.Is(err, barrier.ErrNoNamespace) || errors.Is(err, barrier.ErrNamespaceSealed) {
		err = api.Deny(err)
	}
	return hash, err
}

// hasAccessor reports whether an auth method of a namespace has an accessor.
func (h *house) hasAccessor(ctx context.Context, nsID, accessor string) (bool, error) {
	_, there, err := h.aliasMount(ctx, nsID, accessor)
	return there, err
}

// authType is the type of the auth method that a namespace has at a path; empty: it has none there.
func (h *house) authType(ctx context.Context, nsID, path string) (string, error) {
	table, err := h.Mounts.Table(ctx, nsID)
	if err != nil {
		return "", err
	}
	e := table.Get("auth/" + path + "/")
	if e == nil {
		return "", nil
	}
	return e.Type, nil
}

// loginTypes are the types that auth methods with logins can have.
func (h *house) loginTypes() []string { return loginTypes(h.Mounts.Engines()) }

// loginTypes are the types of those engines that let people in.
func loginTypes(engines []api.Engine) (types []string) {
	for _, e := range engines {
		if e.Auth && e.Type != "token" {
			types = append(types, e.Type)
		}
	}
	return types
}

// aliasMount is the auth method of a namespace that has an accessor.
func (h *house) aliasMount(ctx context.Context, nsID, accessor string) (identity.Mount, bool, error) {
	table, err := h.Mounts.Table(ctx, nsID)
	if err != nil {
		return identity.Mount{}, false, err
	}
	e := table.ByAccessor(accessor)
	if e == nil || !e.Auth() {
		return identity.Mount{}, false, nil
	}
	spell := func(ctx context.Context, name string) (string, error) {
		return h.Mounts.Spell(ctx, e, store.Sub(h.Data, e.Prefix(nsID)), name)
	}
	return identity.Mount{Path: e.Path, Type: e.Type, Spell: spell}, true, nil
}

// entityOf is the entity that a token is made for, by its alias of the mount of tokens, and its count of revocations.
func (h *house) entityOf(c *api.Call, alias string) (id string, epoch int, err error) {
	who, err := h.Identity.Admit(c, &api.Auth{Alias: &api.Alias{Name: alias}})
	if err != nil {
		return "", 0, err
	}
	return who.ID, who.Epoch(), nil
}

// tokenLives records that a token of an entity lives until a moment; one that does not
// expire, for as long as can be told.
func (h *house) tokenLives(ctx context.Context, t *token.Token) error {
	until := t.ExpireTime
	if until.IsZero() {
		until = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return h.Identity.Lives(ctx, t.EntityNamespace(), t.EntityID, until)
}

// entityGone reports whether the entity of a token is no more, or has had all tokens revoked since. Of one in a namespace that is sealed it is not known.
func (h *house) entityGone(ctx context.Context, t *token.Token) (bool, error) {
	gone, err := h.Identity.Ended(ctx, t.EntityNamespace(), t.EntityID, t.EntityEpoch)
	if errors.Is(err, store.ErrSealed) {
		return false, nil
	}
	return gone, err
}

// identityPolicies are the names that a token has by its entity.
func (h *house) identityPolicies(ctx context.Context, t *token.Token) ([]string, error) {
	who, err := h.Identity.Person(ctx, t.EntityNamespace(), t.EntityID)
	if err != nil || who == nil {
		return nil, err
	}
	return who.Policies[t.NamespaceID], nil
}

// newOIDC signs tokens about who is behind tokens.
func (s *Server) newOIDC(h *house, cache *store.Cache) *oidc.Store {
	return oidc.New(oidc.Config{Store: s.barrier, Cache: cache, Now: s.now, Address: s.config.address(),
		Person: h.Identity.Person, Grouped: h.Identity.Grouped, Lineage: h.Namespaces.Lineage, AuthType: h.authType,
		LoggedIn: func(c *api.Call) (time.Time, error) {
			t, err := h.Tokens.Lookup(c, c.Caller.Token.Reveal(), c.Now)
			if err != nil {
				return time.Time{}, err
			}
			return t.LoggedIn(), nil
		}})
}

// identityEndpoints is everything under identity/.
func (h *house) identityEndpoints() ([]*api.Endpoint, error) {
	persons, err := api.Bind(h.Identity, identity.Routes())
	if err != nil {
		return nil, err
	}
	tokens, err := api.Bind(h.oidc, oidc.Routes())
	return append(persons, tokens...), err
}
