package gate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/store"
)

// prove asks for the second factors that a login needs. Where the request shows none, the
// login waits: the answer then tells what for, in place of a token.
func (p *passage) prove(login *api.Auth, who *identity.Person) error {
	need, err := p.house.MFA.Required(&p.call, mfa.Login{Accessor: p.mount.Accessor, Type: p.mount.Type, Who: who})
	if err != nil || need == nil {
		return err
	}
	p.proven = true
	shown, err := mfa.FromHeaders(p.r.Headers)
	if err != nil {
		return err
	}
	if len(shown) > 0 {
		return p.house.MFA.Satisfy(&p.call, need, shown)
	}
	asks, err := p.house.MFA.Hold(&p.call, need, login, &api.Entrance{MountID: p.mount.ID, Accessor: p.mount.Accessor, Type: p.mount.Type, Path: p.path,
		Role: login.LoginRole, EntityID: who.ID, Epoch: who.Epoch(), At: p.call.Now, WrapTTL: p.call.WrapTTL, WrapJWT: p.call.WrapJWT})
	if err != nil {
		return err
	}
	p.waits, p.resp.Auth = true, &api.Auth{EntityID: who.ID, MFA: asks}
	p.call.Warn("A login request was issued that is subject to MFA validation. Please make sure to validate the login by sending another request to mfa/validate endpoint.")
	return nil
}

// complete lets in whose login has waited for its second factors, which have been
// shown. All that the login rested on may have changed meanwhile.
func (p *passage) complete(login *api.Auth) error {
	p.resp.Auth, p.proven = nil, true
	in := login.Entrance
	table, err := p.house.Mounts.Table(&p.call, p.ns.ID)
	if err != nil {
		return err
	}
	e, err := table.ByID(in.MountID)
	switch {
	case err != nil:
		return err
	case e == nil || e.Refusal() != nil:
		return api.Deny(errors.New("the auth method of the login that waited is gone"))
	case !api.Within(p.call.Remote, login.BoundCIDRs):
		return api.Deny(errElsewhere)
	}
	if err := p.askAgain(e, login); err != nil {
		return err
	}
	if _, err := p.house.Cache.Fresh(&p.call); err != nil { // whoever was asked may have taken long to answer
		return err
	}
	who, err := p.house.Identity.Still(&p.call, in, login.Alias)
	if err != nil {
		return err
	}
	if p.call.WrapTTL == 0 {
		p.call.WrapTTL, p.call.WrapJWT = in.WrapTTL, in.WrapJWT
	}
	return p.issue(entrance{e, in.Path, in.Role}, login, who)
}

// askAgain has the auth method look again whether a login that has waited still may, and
// with the same policies, as it does at a renewal.
func (p *passage) askAgain(e *mount.Entry, login *api.Auth) error {
	renew := p.house.Mounts.Renewer(e)
	if renew == nil || !login.Renewable { // such a method cannot look again
		return nil
	}
	call := p.call
	call.Mount, call.Path, call.Store = e.API(), "", store.Sub(p.house.Data, e.Prefix(p.ns.ID))
	call.Context = p.house.confined(&call)
	said, err := renew(&call, &api.Session{Private: login.Private, Metadata: login.Metadata, Policies: sortedNames(login, true), Issued: login.Entrance.At})
	switch k := api.KindOf(err); {
	case err != nil && (k == api.Invalid || k == api.NotFound || k == api.Denied || k == api.Conflict):
		return &api.Error{Kind: api.Denied, Message: "permission denied", Err: fmt.Errorf("the auth method does not let the login that waited in any more: %w", err)}
	case err != nil:
		return err
	case said != nil && !slices.Equal(sortedNames(said, false), sortedNames(login, false)):
		return api.Deny(errors.New("the policies of the login that waited have changed"))
	}
	return nil
}

// sortedNames are the policies that a login attaches, sorted: with the default policy
// where its token has it, or without it anyhow.
func sortedNames(login *api.Auth, usual bool) []string {
	names := slices.DeleteFunc(slices.Clone(login.TokenPolicies), func(n string) bool { return n == "default" })
	if usual && !login.NoDefaultPolicy {
		names = append(names, "default")
	}
	slices.Sort(names)
	return slices.Compact(names)
}
