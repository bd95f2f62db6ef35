// Package authrole owns the roles of auth methods that let in whom others vouch for, such as a cloud or a cluster: the rows
// that they are kept in, the endpoints that all such methods have for them, and what a token keeps of its login, by which a
// renewal finds its role again. What a role demands, and who meets it, is the method's own.
package authrole

import (
	"encoding/json"
	"fmt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// prefix begins the keys of roles in a mount's store; a role's name ends it.
const prefix = "role/"

// Named is a request about one role.
type Named interface {
	// RoleName is the role's name.
	RoleName() api.Name
}

// ByName is the part of a request that names a role, for paths that call it name.
type ByName struct {
	Name api.Name `path:"name"` // The role.
}

// RoleName implements Named.
func (q ByName) RoleName() api.Name { return q.Name }

// Load is a role's row, an R as JSON; nil when there is no such role.
func Load[R any](c *api.Call, name api.Name) (*R, error) {
	return store.LoadJSON[R](c, c.Store, prefix+string(name))
}

// Find is Load of a role that must be there: it returns NotFound otherwise.
func Find[R any](c *api.Call, name api.Name) (*R, error) {
	r, err := Load[R](c, name)
	if err == nil && r == nil {
		err = api.ErrNotFound()
	}
	return r, err
}

// Change rewrites a role's row, or makes one of a zero R, as do says, and answers what is in it then. Others may be at it too,
// so that do may be called more than once, each time with what is there.
func Change[R any](c *api.Call, name api.Name, do func(tx *store.Tx, r *R) error) (*R, error) {
	var r *R
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		r = new(R)
		if _, err := tx.LoadJSON(prefix+string(name), r); err != nil {
			return err
		}
		if err := do(tx, r); err != nil {
			return err
		}
		return tx.PutJSON(prefix+string(name), r)
	})
	return r, err
}

// Exists tells a request that creates a role from one that changes it.
func Exists[E any, Q Named](_ E, c *api.Call, q *Q) (bool, error) {
	e, err := c.Store.Get(c, prefix+string((*q).RoleName()))
	return e.Exists(), err
}

// List names the roles.
func List[E any](_ E, c *api.Call, _ *api.None) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, prefix, "", 0)
	return &api.Keys{Keys: names}, err
}

// Delete removes a role. Tokens that it has let in live on, and cannot be renewed.
func Delete[E any, Q Named](_ E, c *api.Call, q *Q) (*api.None, error) {
	_, err := c.Store.Commit(c, nil, []store.Write{{Key: prefix + string((*q).RoleName()), Delete: true}})
	return nil, err
}

// Complete refuses a login that lacks its role or its token, with what to send: for the token, in the method's words.
func Complete(role api.Name, token api.Secret, hint string) error {
	switch {
	case role == "":
		return &api.Error{Kind: api.Invalid, Message: "missing role", Hint: "send the name of the role to log in by as role"}
	case token.Empty():
		return &api.Error{Kind: api.Invalid, Message: "missing jwt", Hint: hint}
	}
	return nil
}

// kept is what a token keeps of its login.
type kept[W any] struct {
	Role api.Name `json:"role"`
	Who  W        `json:"who"`
}

// Keep has the token of a login keep its role and who has logged in, in the method's terms, for Recall.
func Keep[W any](a *api.Auth, role api.Name, who *W) (*api.Auth, error) {
	var err error
	a.Private, err = json.Marshal(kept[W]{role, *who})
	return a, err
}

// Recall is the role that a token is of, nil when it is gone, and who logged in by it.
func Recall[R, W any](c *api.Call, s *api.Session) (*R, *W, error) {
	var k kept[W]
	if err := json.Unmarshal(s.Private, &k); err != nil || k.Role == "" {
		return nil, nil, fmt.Errorf("authrole: %w: what a token keeps of its login", store.ErrCorrupt)
	}
	r, err := Load[R](c, k.Role)
	return r, &k.Who, err
}
