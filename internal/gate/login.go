package gate

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/token"
)

// admit makes the token that the answer of an auth method stands for. The built-in
// methods make their own.
func (p *passage) admit() error {
	login := loginOf(p.result)
	switch {
	case login != nil && login.Entrance != nil && p.mount.Builtin:
		return p.complete(login)
	case login == nil || !p.mount.Auth():
		return nil
	case p.mount.Builtin:
		return p.tellIdentity(login)
	}
	return p.enter(login)
}

// enter lets in whom an auth method has let in.
func (p *passage) enter(login *api.Auth) error {
	if !api.Within(p.call.Remote, login.BoundCIDRs) {
		return api.Deny(errElsewhere)
	}
	if login.BindIP {
		if !p.call.Remote.IsValid() { // nothing to bind it to
			return api.Deny(errors.New("the token is to be bound to the client's address, which is not known"))
		}
		login.BoundCIDRs = []string{p.call.Remote.Unmap().WithZone("").String()}
	}
	who, err := p.house.Identity.Admit(&p.call, login)
	if err != nil {
		return err
	}
	if login.LoginRole == "" {
		if login.LoginRole, err = p.loginRole(); err != nil {
			return err
		}
	}
	if err := p.prove(login, who); err != nil || p.waits {
		return err
	}
	return p.issue(entrance{p.mount, p.path, login.LoginRole}, login, who)
}

// errElsewhere is why a login from an address that its token could not be used from is refused.
var errElsewhere = errors.New("the client's address is none of those that the token of this login could be used from")

// loginOf is the login that a result is, or that it holds where an endpoint answers
// browsers as well; nil: none.
func loginOf(result any) *api.Auth {
	switch v := result.(type) {
	case *api.Auth:
		return v
	case *api.Answer:
		return v.Auth
	}
	return nil
}

// tellIdentity adds what an entity gives to the answer about a token that was made or
// renewed for it.
func (p *passage) tellIdentity(made *api.Auth) error {
	if made.EntityID == "" {
		return nil
	}
	nsID := p.ns.ID
	if made.EntityID == p.call.Caller.EntityID {
		nsID = p.call.Caller.EntityNamespace
	}
	who, err := p.house.Identity.Person(&p.call, nsID, made.EntityID)
	if err != nil || who == nil {
		return err
	}
	made.IdentityPolicies = who.Policies[p.ns.ID]
	made.Policies = together(made.TokenPolicies, made.IdentityPolicies)
	return nil
}

// entrance is where somebody came in.
type entrance struct {
	mount *mount.Entry
	path  string // of the login
	role  string // that it was by; empty: none
}

// issue makes the token of a login.
func (p *passage) issue(in entrance, login *api.Auth, who *identity.Person) error {
	asked := *login
	asked.TokenType = kindOf(in.mount.Config.TokenType, login.TokenType)
	epoch := 0
	if who != nil {
		asked.EntityID, epoch = who.ID, who.Epoch()
	}
	m := in.mount.API()
	reuse := login.Reuse && !p.proven && p.call.WrapTTL == 0
	issued, err := p.house.Tokens.Issue(&p.call, token.Spec{Auth: asked, Namespace: p.ns.ID, Path: in.path, MountID: in.mount.ID, EntityEpoch: epoch,
		Mount: token.Limits{Default: m.DefaultTTL, Max: m.MaxTTL}, Role: in.role, Reuse: reuse, Now: p.call.Now, Warn: p.call.Warn})
	if err != nil {
		return err
	}
	if who != nil {
		issued.IdentityPolicies = who.Policies[p.ns.ID]
		issued.Policies = together(issued.TokenPolicies, issued.IdentityPolicies)
	}
	p.resp.Auth = issued
	if !reuse { // else others may hold it by now
		p.issued = issued
	}
	return nil
}

// kindOf is the type of a login's token: the mount's where it allows one alone,
// else the role's, else the mount's usual one.
func kindOf(mount, role string) string {
	switch mount {
	case token.Service, token.Batch:
		return mount
	}
	if role == "" || role == "default" {
		role = mount
	}
	if role == token.Batch || role == "default-batch" {
		return token.Batch
	}
	return token.Service
}

// together is the names of two sorted lists, sorted.
func together(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// revokeIssued ends the token of a login that nobody is told of. Should this fail,
// it ends at its time.
func (p *passage) revokeIssued() {
	if p.issued == nil || p.issued.TokenType == token.Batch {
		return
	}
	ctx := context.WithoutCancel(&p.call)
	t, err := p.house.Tokens.Lookup(ctx, p.issued.ClientToken.Reveal(), p.call.Now)
	if err == nil {
		err = p.house.Tokens.Revoke(ctx, t.NamespaceID, t.ID)
	}
	p.issued = nil
	if err != nil {
		p.gate.log.Warn("ending the token of a login that was not answered", slog.String("request_id", p.r.ID), slog.Any("error", err))
	}
}
