// Package radius is the auth method that asks a RADIUS server (RFC 2865) whether a
// password is right: who knows the password of an account there is let in. It owns its
// settings and the rows of users, by which policies are given.
//
// RADIUS hides passwords, and proves its answers, by MD5. So that nobody in between can
// turn a refusal around (CVE-2024-3596), every request has a Message-Authenticator
// (RFC 3579, section 3.2), and an answer without one is no answer.
package radius

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// engine has the handlers.
type engine struct{}

// Engine is the method's row for the table of auth methods. It returns an error
// when a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "config", engine.readConfig),
		api.Upsert("config", engine.writeConfig, engine.hasConfig),
		api.Handle(api.Write, "login", engine.login, api.Public, api.Asks),
		api.Handle(api.Write, "login/{urlusername}", engine.loginAs, api.Public, api.Asks),
		api.Handle(api.List, "users", engine.listUsers),
		api.Handle(api.Read, "users/{name}", engine.readUser),
		api.Upsert("users/{name}", engine.writeUser, engine.hasUser),
		api.Handle(api.Delete, "users/{name}", engine.deleteUser),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("radius: %w", err)
	}
	return api.Engine{Type: "radius", Auth: true, Description: "Names and passwords of a RADIUS server.", Endpoints: eps, Renew: renew, Spell: strings.ToLower}, nil
}

// Keys of rows, and the first byte of each, before the JSON object.
const (
	keyConfig  = "config"
	prefixUser = "user/"
	formatRow  = 1
)

// Bounds of names and lists.
const (
	maxName     = 253 // bytes: what an attribute of a packet holds
	maxPolicies = 1000
)

// load reads a row into v and reports whether there is one.
func load(get func(key string) (store.Entry, error), key string, v any) (bool, error) {
	e, err := get(key)
	if err != nil || !e.Exists() {
		return false, err
	}
	if len(e.Value) == 0 || e.Value[0] != formatRow {
		return false, fmt.Errorf("radius: a row is of a form that this program does not know: %w", store.ErrCorrupt)
	}
	if err := json.Unmarshal(e.Value[1:], v); err != nil {
		return false, fmt.Errorf("radius: a row cannot be read: %w", store.ErrCorrupt)
	}
	return true, nil
}

// stored reads what is in a call's store.
func stored(c *api.Call) func(string) (store.Entry, error) {
	return func(key string) (store.Entry, error) { return c.Store.Get(c, key) }
}

func put(tx *store.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("radius: encode a row: %w", err)
	}
	tx.Put(key, append([]byte{formatRow}, b...))
	return nil
}

// user is what an account of the RADIUS server gets here.
type user struct {
	Policies []string `json:"policies,omitempty"`
}

// Named names a user of the method.
type Named struct {
	Name api.Name `path:"name"` // Name of the account.
}

// Page asks for names.
type Page struct {
	After string `json:"after"` // Only names that sort behind this one.
	Limit int    `json:"limit"` // At most so many names; 0: all.
}

// UserRequest registers an account of the RADIUS server.
type UserRequest struct {
	Name     api.Name `path:"name"`                   // Name of the account.
	Policies []string `json:"policies" audit:"clear"` // Policies of its tokens.
}

// UserAnswer is a user as it is read.
type UserAnswer struct {
	Policies []string `json:"policies" audit:"clear"`
}

// policiesOf is a list of policies in canonical spelling. The root policy is in no such list.
func policiesOf(field string, names []string) ([]string, error) {
	out := make([]string, 0, len(names))
	for _, n := range names {
		if n = strings.ToLower(strings.TrimSpace(n)); n == "root" {
			return nil, api.Errorf(api.Invalid, "%s: the root policy cannot be attached by a login", field)
		} else if n != "" {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxPolicies {
		return nil, api.Errorf(api.Invalid, "%s: are more than %d", field, maxPolicies)
	}
	return out, nil
}

// readUser shows what an account gets.
func (engine) readUser(c *api.Call, q *Named) (*UserAnswer, error) {
	var u user
	switch ok, err := load(stored(c), prefixUser+string(q.Name), &u); {
	case err != nil:
		return nil, err
	case !ok:
		return nil, api.ErrNotFound()
	}
	return &UserAnswer{Policies: api.Full(u.Policies)}, nil
}

func (engine) hasUser(c *api.Call, q *UserRequest) (bool, error) {
	return load(stored(c), prefixUser+string(q.Name), &user{})
}

// writeUser registers an account of the RADIUS server, with its policies. It replaces
// what was set before. The account need not exist.
func (engine) writeUser(c *api.Call, q *UserRequest) (*api.None, error) {
	if q.Name == "" || len(q.Name) > maxName {
		return nil, api.Errorf(api.Invalid, "name: is empty, or longer than %d bytes", maxName)
	}
	names, err := policiesOf("policies", q.Policies)
	if err != nil {
		return nil, err
	}
	_, err = store.Update(c, c.Store, func(tx *store.Tx) error { return put(tx, prefixUser+string(q.Name), &user{names}) })
	return nil, err
}

// deleteUser makes an account one that is not registered.
func (engine) deleteUser(c *api.Call, q *Named) (*api.None, error) {
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		tx.Delete(prefixUser + string(q.Name))
		return nil
	})
	return nil, err
}

// listUsers names the accounts that are registered.
func (engine) listUsers(c *api.Call, q *Page) (*api.Keys, error) {
	names, err := store.Children(context.Context(c), c.Store, prefixUser, q.After, max(0, q.Limit))
	return &api.Keys{Keys: names}, err
}
