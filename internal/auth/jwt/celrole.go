package jwt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/store"
)

const celPrefix = "cel/role/"

// celRole is a role that a program in CEL decides.
type celRole struct {
	Program   program     `json:"program"`
	Message   string      `json:"message,omitempty"`
	Leeways   jws.Leeways `json:"leeways,omitzero"`
	Audiences []string    `json:"audiences,omitempty"`
}

// CELRoleRequest creates or replaces a role in CEL.
type CELRoleRequest struct {
	Name             api.Name      `path:"name"`                          // The role.
	CELProgram       api.Object    `json:"cel_program"`                   // The program: variables, a list of objects with name and expression, and expression.
	Message          *string       `json:"message"`                       // What is told to who is not let in.
	ExpirationLeeway *api.Duration `json:"expiration_leeway"`             // As of other roles.
	NotBeforeLeeway  *api.Duration `json:"not_before_leeway"`             // As of other roles.
	ClockSkewLeeway  *api.Duration `json:"clock_skew_leeway"`             // As of other roles.
	BoundAudiences   *[]string     `json:"bound_audiences" audit:"clear"` // One of these must be in aud. Tokens with an aud need it.
}

// CELRoleAnswer is a role in CEL as it is read.
type CELRoleAnswer struct {
	BoundAudiences   []string     `json:"bound_audiences" audit:"clear"`
	CELProgram       api.Object   `json:"cel_program"`
	ClockSkewLeeway  api.Duration `json:"clock_skew_leeway"`
	ExpirationLeeway api.Duration `json:"expiration_leeway"`
	Message          string       `json:"message"`
	Name             api.Name     `json:"name" audit:"clear"`
	NotBeforeLeeway  api.Duration `json:"not_before_leeway"`
}

func celRoleOf(ctx context.Context, s store.Reader, name string) (*celRole, error) {
	return store.LoadJSON[celRole](ctx, s, celPrefix+name)
}

func (r *celRole) answer(name api.Name) (*CELRoleAnswer, error) {
	p, err := json.Marshal(r.Program)
	return &CELRoleAnswer{BoundAudiences: api.Full(r.Audiences), CELProgram: p, ClockSkewLeeway: api.Duration(r.Leeways.ClockSkew),
		ExpirationLeeway: api.Duration(r.Leeways.Expiration), Message: r.Message, Name: name, NotBeforeLeeway: api.Duration(r.Leeways.NotBefore)}, err
}

// readCELRole shows a role in CEL.
func (engine) readCELRole(c *api.Call, req *RoleName) (*CELRoleAnswer, error) {
	r, err := celRoleOf(c, c.Store, string(req.Name))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.ErrNotFound()
	}
	return r.answer(req.Name)
}

// writeCELRole creates or replaces a role in CEL.
func (e engine) writeCELRole(c *api.Call, req *CELRoleRequest) (*CELRoleAnswer, error) {
	if len(req.CELProgram) == 0 {
		return nil, &api.Error{Kind: api.Invalid, Message: "missing required field 'cel_program'", Hint: `send the program, such as {"expression": "..."}`}
	}
	return e.changeCELRole(c, req, false)
}

// patchCELRole changes a role in CEL: what is absent stays as it was.
func (e engine) patchCELRole(c *api.Call, req *CELRoleRequest) (*CELRoleAnswer, error) {
	return e.changeCELRole(c, req, true)
}

func (engine) changeCELRole(c *api.Call, req *CELRoleRequest, patch bool) (*CELRoleAnswer, error) {
	if err := checkRoleName(req.Name); err != nil {
		return nil, err
	}
	var r celRole
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		r = celRole{}
		if patch {
			found, err := tx.LoadJSON(celPrefix+string(req.Name), &r)
			if err == nil && !found {
				err = api.ErrNotFound()
			}
			if err != nil {
				return err
			}
		}
		if err := req.apply(&r); err != nil {
			return err
		}
		return tx.PutJSON(celPrefix+string(req.Name), &r)
	})
	if err != nil {
		return nil, err
	}
	return r.answer(req.Name)
}

func (q *CELRoleRequest) apply(r *celRole) error {
	if len(q.CELProgram) > 0 {
		var err error
		if r.Program, err = parseProgram(q.CELProgram); err != nil {
			return err
		}
	}
	api.Set(&r.Message, q.Message)
	api.Set(&r.Audiences, q.BoundAudiences)
	api.Set((*api.Duration)(&r.Leeways.Expiration), q.ExpirationLeeway)
	api.Set((*api.Duration)(&r.Leeways.NotBefore), q.NotBeforeLeeway)
	api.Set((*api.Duration)(&r.Leeways.ClockSkew), q.ClockSkewLeeway)
	switch {
	case len(r.Message) > maxMetadata:
		return api.Errorf(api.Invalid, "message: is longer than %d bytes", maxMetadata)
	case len(r.Audiences) > maxList || slices.Contains(r.Audiences, ""):
		return api.Errorf(api.Invalid, "bound_audiences: one is empty, or there are more than %d", maxList)
	case r.Leeways.ClockSkew > 10*time.Minute:
		return api.Errorf(api.Invalid, "clock_skew_leeway: cannot be more than 10 minutes")
	}
	return nil
}

// deleteCELRole removes a role in CEL. Tokens made with it live on, but cannot be renewed.
func (engine) deleteCELRole(c *api.Call, req *RoleName) (*api.None, error) {
	_, err := c.Store.Commit(c, nil, []store.Write{{Key: celPrefix + string(req.Name), Delete: true}})
	return nil, err
}

// listCELRoles names the roles in CEL.
func (engine) listCELRoles(c *api.Call, req *RoleList) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, celPrefix, req.After, max(0, req.Limit))
	return &api.Keys{Keys: names}, err
}

// celLogin exchanges a signed token for one of ours, as a role in CEL decides.
func (engine) celLogin(c *api.Call, req *LoginRequest) (*api.Auth, error) {
	cfg, name, err := req.begin(c)
	if err != nil {
		return nil, err
	}
	r, err := celRoleOf(c, c.Store, name)
	if err != nil {
		return nil, err
	}
	said, err := cfg.accept(c, req.JWT.Reveal())
	if err != nil {
		return nil, errToken(err)
	}
	if r == nil {
		return nil, refused(said, c.Now, errLogin(errors.New("no such role")))
	}
	auth, err := r.admit(c, name, said)
	if err != nil {
		return nil, refused(said, c.Now, r.refuse(err))
	}
	return auth, nil
}

// refuse is the answer to who is not let in: the role's message where it has one.
func (r *celRole) refuse(why error) error {
	var known *api.Error
	if errors.As(why, &known) || r.Message == "" {
		if known != nil {
			return why
		}
		return errLogin(why)
	}
	return api.Errorf(api.Invalid, "error validating claims: %s", r.Message)
}

// admit has the program decide about a token.
func (r *celRole) admit(c *api.Call, name string, said jws.Claims) (*api.Auth, error) {
	if err := r.Leeways.Valid(said, c.Now); err != nil {
		return nil, err
	}
	audiences, err := said.Audiences()
	switch {
	case err != nil:
		return nil, err
	case len(r.Audiences) == 0 && len(audiences) > 0:
		return nil, errors.New("audience claim found in JWT but no audiences bound to the role")
	case len(r.Audiences) > 0 && !slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(r.Audiences, a) }):
		return nil, errors.New("aud is none of the role's")
	}
	given, err := r.Program.run(said, c.Now)
	if err != nil {
		return nil, err
	}
	return given.auth(c, name, said, r)
}

// print is a hash of what the role decides by: a token that it made is renewed while that is the same.
func (r *celRole) print() ([]byte, error) {
	b, err := json.Marshal(r.Program)
	sum := sha256.Sum256(b)
	return sum[:], err
}

// auth is the answer to a login by what the program gave.
func (g *given) auth(c *api.Call, name string, said jws.Claims, r *celRole) (*api.Auth, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	out := g.terms.Auth()
	out.LoginRole = name
	out.Metadata = g.metadata
	if out.Metadata == nil {
		out.Metadata = map[string]string{}
	}
	out.Metadata["role"] = name
	who := g.name
	if g.alias != "" {
		out.Alias = &api.Alias{Name: g.alias, Metadata: g.aliasMetadata}
		if who == "" {
			who = g.alias
		}
	}
	if sub := said.Text("sub"); who == "" && plain(sub) {
		who = sub
	}
	out.DisplayName, out.GroupAliases = c.DisplayName(who), g.groups
	print, err := r.print()
	if err != nil {
		return nil, err
	}
	out.Private, err = json.Marshal(private{Role: name, CEL: print, Terms: &g.terms})
	return out, err
}

// check holds what a program gives to the rules for roles.
func (g *given) check() error {
	if err := (&api.TokenFields{}).Apply(&g.terms); err != nil {
		return errors.New("the program gives what no token could have")
	}
	names := slices.Concat(g.groups, []string{})
	if g.alias != "" {
		names = append(names, g.alias)
	}
	if g.name != "" {
		names = append(names, g.name)
	}
	switch {
	case len(g.groups) > maxGroups || len(g.terms.Policies) > maxGroups || len(g.metadata) > maxList || len(g.aliasMetadata) > maxList:
		return errors.New("the program gives too much")
	case slices.ContainsFunc(names, func(n string) bool { return !plain(n) }):
		return errors.New("the program gives a name that is none")
	case slices.ContainsFunc(g.terms.Policies, func(p string) bool { return !plain(p) || strings.EqualFold(strings.TrimSpace(p), "root") }):
		return errors.New("the program gives a policy that no role may give")
	}
	return nil
}

// renewCEL looks again whether a role in CEL is there, and decides as it did.
func (engine) renewCEL(c *api.Call, p private) (*api.Auth, error) {
	r, err := celRoleOf(c, c.Store, p.Role)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.Errorf(api.Invalid, "the role does not exist any more, not renewing")
	}
	print, err := r.print()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(print, p.CEL) {
		return nil, api.Errorf(api.Invalid, "the role decides otherwise now, not renewing: log in again")
	}
	if p.Terms == nil {
		return nil, api.Errorf(api.Invalid, "what the role gave is not known, not renewing: log in again")
	}
	if !api.Within(c.Remote, p.Terms.BoundCIDRs) {
		return nil, api.ErrDenied()
	}
	return p.Terms.Auth(), nil
}
