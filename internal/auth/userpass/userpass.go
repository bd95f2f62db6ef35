// Package userpass owns the auth method that knows people by a name and a password. It
// keeps of a password its slow hash, and tells nobody which names it knows: not by its
// answers, nor by the time they take.
package userpass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/store"
)

// engine has the handlers.
type engine struct{}

// Engine is the method's row for the table of auth methods. It returns an error when
// a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Write, "login/{username}", engine.login, api.Public),
		api.Handle(api.List, "users", engine.list),
		api.Handle(api.Read, "users/{username}", engine.read),
		api.Upsert("users/{username}", engine.write, engine.exists),
		api.Handle(api.Delete, "users/{username}", engine.remove),
		api.Handle(api.Write, "users/{username}/password", engine.setPassword),
		api.Handle(api.Write, "users/{username}/policies", engine.setPolicies),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("userpass: %w", err)
	}
	return api.Engine{Type: "userpass", Auth: true, Description: "People, by name and password.", Endpoints: eps, Renew: renew, Spell: strings.ToLower}, nil
}

const (
	userPrefix = "user/"
	maxName    = 256 // in bytes
)

// user is a user's row.
type user struct {
	ID    string         `json:"id"` // of this user, not of another who later has the name
	Hash  string         `json:"hash"`
	Terms api.TokenTerms `json:"terms"`
	Old   authrole.Old   `json:"old,omitempty"`
}

func load(ctx context.Context, r store.Reader, name string) (*user, error) {
	return store.LoadJSON[user](ctx, r, userPrefix+name)
}

// decode is nil for a user that is not there.
func decode(e store.Entry, err error) (*user, error) {
	if err != nil || !e.Exists() {
		return nil, err
	}
	return store.DecodeJSON[user](e)
}

// change rewrites a user's row, or with create makes one.
func change(c *api.Call, name string, create bool, do func(*user) error) error {
	if name == "" || len(name) > maxName {
		return api.Errorf(api.Invalid, "username: must have from 1 to %d bytes", maxName)
	}
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		e, err := tx.Get(userPrefix + name)
		u, err := decode(e, err)
		switch {
		case err != nil:
			return err
		case u == nil && !create:
			return api.Errorf(api.Invalid, "username does not exist")
		case u == nil:
			u = &user{ID: api.NewUUID()}
		}
		if err := do(u); err != nil {
			return err
		}
		return tx.PutJSON(userPrefix+name, u)
	})
	return err
}

// Name names a user.
type Name struct {
	Username api.Name `path:"username"` // The user.
}

// ListRequest asks for users.
type ListRequest struct {
	After string `json:"after"` // Only names that sort behind this one.
	Limit int    `json:"limit"` // At most so many names; 0: all.
}

// list names the users.
func (engine) list(c *api.Call, r *ListRequest) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, userPrefix, r.After, max(0, r.Limit))
	return &api.Keys{Keys: names}, err
}

// Answer is a user as it is read. The password is not.
type Answer struct {
	api.TokenAnswer
	authrole.OldAnswer
}

// read shows a user.
func (engine) read(c *api.Call, r *Name) (*Answer, error) {
	u, err := load(c, c.Store, string(r.Username))
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, api.ErrNotFound()
	}
	return &Answer{TokenAnswer: u.Terms.Answer(), OldAnswer: u.Old.Answer(u.Terms.Answer())}, nil
}

// remove removes a user, whose tokens then renew no more. One that is not there is as
// good as removed.
func (engine) remove(c *api.Call, r *Name) (*api.None, error) {
	_, err := c.Store.Commit(c, nil, []store.Write{{Key: userPrefix + string(r.Username), Delete: true}})
	return nil, err
}

// Write creates or changes a user; what is absent stays as it was.
type Write struct {
	Username     api.Name      `path:"username"`                                                     // The user.
	Password     *api.Secret   `json:"password" api:"empty"`                                         // The password.
	PasswordHash *api.Secret   `json:"password_hash" api:"empty"`                                    // A hash of the password by bcrypt, in its place.
	Policies     *[]string     `json:"policies" api:"deprecated,alias=token_policies" audit:"clear"` // Old name of token_policies.
	BoundCIDRs   *[]string     `json:"bound_cidrs" api:"deprecated,alias=token_bound_cidrs"`         // Old name of token_bound_cidrs.
	TTL          *api.Duration `json:"ttl" api:"deprecated,alias=token_ttl"`                         // Old name of token_ttl.
	MaxTTL       *api.Duration `json:"max_ttl" api:"deprecated,alias=token_max_ttl"`                 // Old name of token_max_ttl.
	api.TokenFields
	Aliases []string `json:"-" api:"aliases"`
}

// exists tells a create from an update.
func (engine) exists(c *api.Call, r *Write) (bool, error) {
	u, err := load(c, c.Store, string(r.Username))
	return u != nil, err
}

// write creates or changes a user.
func (engine) write(c *api.Call, r *Write) (*api.None, error) {
	hash, err := hashed(c, given(r.Password), given(r.PasswordHash))
	switch {
	case err != nil:
		return nil, err
	case hash == "" && (r.Password != nil || r.PasswordHash != nil): // an unset variable of a shell is no wish to keep the old one
		return nil, &api.Error{Kind: api.Invalid, Message: "missing password: it is empty", Hint: "to keep the password, leave it out"}
	}
	return nil, change(c, string(r.Username), true, func(u *user) error {
		switch {
		case hash != "":
			u.Hash = hash
		case u.Hash == "":
			return errNoPassword()
		}
		u.Old.Note(&r.TokenFields, r.Aliases)
		return r.TokenFields.Apply(&u.Terms)
	})
}

func errNoPassword() error {
	return &api.Error{Kind: api.Invalid, Message: "missing password", Hint: "send it as password"}
}

func given(s *api.Secret) api.Secret {
	if s == nil {
		return api.Secret{}
	}
	return *s
}

// hashed is the stored form of what a request gives as password; empty when it gives
// none.
func hashed(c *api.Call, password, hash api.Secret) (string, error) {
	switch {
	case !password.Empty() && !hash.Empty():
		return "", api.Errorf(api.Invalid, "only one of password and password_hash can be given")
	case !hash.Empty():
		return c.Passwords.Take(hash)
	case password.Empty():
		return "", nil
	}
	return c.Passwords.Hash(c, password)
}

// SetPassword changes a password.
type SetPassword struct {
	Username     api.Name   `path:"username"`      // The user.
	Password     api.Secret `json:"password"`      // The new password.
	PasswordHash api.Secret `json:"password_hash"` // A hash of it by bcrypt, in its place.
}

// setPassword changes a user's password. Tokens stay as they are.
func (engine) setPassword(c *api.Call, r *SetPassword) (*api.None, error) {
	hash, err := hashed(c, r.Password, r.PasswordHash)
	if err == nil && hash == "" {
		err = errNoPassword()
	}
	if err != nil {
		return nil, err
	}
	return nil, change(c, string(r.Username), false, func(u *user) error {
		u.Hash = hash
		return nil
	})
}

// SetPolicies changes the policies of a user's tokens.
type SetPolicies struct {
	Username      api.Name  `path:"username"`                                                     // The user.
	Policies      *[]string `json:"policies" api:"deprecated,alias=token_policies" audit:"clear"` // Old name of token_policies.
	TokenPolicies *[]string `json:"token_policies" audit:"clear"`                                 // Policies of tokens.
	Aliases       []string  `json:"-" api:"aliases"`
}

// setPolicies changes the policies of a user's tokens. Those that exist keep theirs,
// and renew no more.
func (engine) setPolicies(c *api.Call, r *SetPolicies) (*api.None, error) {
	f := api.TokenFields{TokenPolicies: r.TokenPolicies}
	if f.TokenPolicies == nil {
		return nil, &api.Error{Kind: api.Invalid, Message: "missing token_policies", Hint: "send the policies as token_policies, comma-separated or as a list; an empty one takes them all away"}
	}
	return nil, change(c, string(r.Username), false, func(u *user) error {
		u.Old.Note(&f, r.Aliases)
		return f.Apply(&u.Terms)
	})
}

// Login asks for a token.
type Login struct {
	Username api.Name   `path:"username"` // The user.
	Password api.Secret `json:"password"` // The password.
}

// errWrong is the one answer to a wrong login. Why is for the log alone.
func errWrong(u *user) error {
	why := errPassword
	if u == nil {
		why = errUser
	}
	return &api.Error{Kind: api.Invalid, Message: "invalid username or password", Err: why}
}

var (
	errUser     = errors.New("there is no such user")
	errPassword = errors.New("the password is wrong")
)

// login lets a user in by the password. Whatever is wrong, the answer is the same,
// after the same work.
func (engine) login(c *api.Call, r *Login) (*api.Auth, error) {
	if r.Password.Empty() {
		return nil, errNoPassword()
	}
	name := string(r.Username)
	if len(name) > maxName {
		return nil, api.Errorf(api.Invalid, "username: must have from 1 to %d bytes", maxName)
	}
	var u *user
	looked, old := false, false
	right, err := c.Attempt(name, func() (right bool, err error) {
		looked = true
		if u, err = load(c, c.Store, name); err != nil {
			return false, err
		}
		form := ""
		if u != nil {
			form = u.Hash
		}
		right, old, err = c.Passwords.Check(c, form, r.Password)
		return right, err
	})
	if err == nil && !looked { // locked, which must take as long
		_, _, err = c.Passwords.Check(c, "", r.Password)
	}
	switch {
	case err != nil:
		return nil, err
	case !right || u == nil:
		return nil, errWrong(u)
	}
	if old {
		if err := rehash(c, name, u, r.Password); err != nil {
			return nil, err
		}
	}
	return u.auth(c, name)
}

// rehash gives a password the form that new ones have, unless it has been changed
// meanwhile.
func rehash(c *api.Call, name string, u *user, password api.Secret) error {
	hash, err := c.Passwords.Hash(c, password)
	if err != nil {
		return err
	}
	_, err = store.Update(c, c.Store, func(tx *store.Tx) error {
		e, err := tx.Get(userPrefix + name)
		now, err := decode(e, err)
		if err != nil || now == nil || now.ID != u.ID || now.Hash != u.Hash {
			return err
		}
		now.Hash = hash
		return tx.PutJSON(userPrefix+name, now)
	})
	return err
}

// private is what a renewal looks at again.
type private struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// auth is the answer to a login.
func (u *user) auth(c *api.Call, name string) (*api.Auth, error) {
	a := u.Terms.Auth()
	a.DisplayName, a.Metadata = c.DisplayName(name), map[string]string{"username": name}
	a.Alias = &api.Alias{Name: name, Metadata: map[string]string{"username": name}}
	var err error
	a.Private, err = json.Marshal(private{name, u.ID})
	return a, err
}

// renew lets a token live on while its user is there.
func renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	var p private
	if err := json.Unmarshal(s.Private, &p); err != nil {
		return nil, fmt.Errorf("userpass: a token's row: %w", store.ErrCorrupt)
	}
	u, err := load(c, c.Store, p.Name)
	if err != nil {
		return nil, err
	}
	if u == nil || u.ID != p.ID {
		return nil, api.Errorf(api.Invalid, "the user of this token is gone, not renewing")
	}
	return u.auth(c, p.Name)
}
