package approle

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Login asks for a token.
type Login struct {
	RoleID   string     `json:"role_id"`   // The role's id.
	SecretID api.Secret `json:"secret_id"` // One of its secret ids, where it needs one.
}

// LoginRole is the role that has the role id.
func (q *Login) LoginRole(c *api.Call) (string, error) {
	if q.RoleID == "" || len(q.RoleID) > maxRoleID {
		return "", nil
	}
	e, err := c.Store.Get(c, idKey(q.RoleID))
	return string(e.Value), err
}

// errWrong is the one answer to a wrong login. Why is for the log alone.
func errWrong(why string) error {
	return &api.Error{Kind: api.Invalid, Message: "invalid role or secret ID", Err: errors.New(why)}
}

// login lets in whoever has a role's id and one of its secret ids, from the addresses
// of both. A secret id with a limit is spent by it.
func (engine) login(c *api.Call, q *Login) (*api.Auth, error) {
	if q.RoleID == "" {
		return nil, &api.Error{Kind: api.Invalid, Message: "missing role_id", Hint: "send the role's id as role_id: whoever may read the role finds it at role/NAME/role-id"}
	}
	if len(q.RoleID) > maxRoleID || q.SecretID.Len() > maxSecretID {
		return nil, errWrong("the role id or the secret id is longer than any")
	}
	var r *role
	var s *secret
	right, err := c.Attempt(q.RoleID, func() (right bool, err error) {
		r, s, err = q.look(c)
		return err == nil && r != nil && (s != nil || !r.BindSecretID), err
	})
	switch {
	case err != nil:
		return nil, err
	case !right && q.SecretID.Empty():
		return nil, &api.Error{Kind: api.Invalid, Message: "missing secret_id", Hint: "send one of the role's secret ids as secret_id: a write to role/NAME/secret-id makes one"}
	case !right && r == nil:
		return nil, errWrong("no role has the role id")
	case !right:
		return nil, errWrong("the role has no such secret id, or it has ended")
	case !api.Within(c.Remote, r.BoundCIDRs):
		return nil, api.Deny(errors.New("the client's address is not in secret_id_bound_cidrs of the role"))
	case s != nil && !api.Within(c.Remote, s.CIDRs):
		return nil, api.Deny(errors.New("the client's address is not in cidr_list of the secret id"))
	case !api.Within(c.Remote, r.Terms.BoundCIDRs):
		return nil, api.Deny(errors.New("the client's address is not in token_bound_cidrs of the role"))
	}
	a, err := answer(c, r, s)
	if err != nil || s == nil || !s.Limited {
		return a, err
	}
	spent, err := r.spend(c, r.hash(q.SecretID))
	if err == nil && !spent {
		err = errWrong("the secret id has been used up")
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// look finds the role and, where it needs one, the secret id; nil for what is not there.
func (q *Login) look(c *api.Call) (*role, *secret, error) {
	e, err := c.Store.Get(c, idKey(q.RoleID))
	if err != nil || !e.Exists() {
		return nil, nil, err
	}
	r, err := loadRole(c, c.Store, string(e.Value))
	if err != nil || r == nil || !api.NewSecret(r.RoleID).Equal(api.NewSecret(q.RoleID)) {
		return nil, nil, err
	}
	if !r.BindSecretID {
		return r, nil, nil
	}
	s, err := loadSecret(c, c.Store, r.secretKey(r.hash(q.SecretID)))
	if err != nil || s == nil || !s.alive(c.Now) {
		return r, nil, err
	}
	return r, s, nil
}

// private is what a renewal looks at again.
type private struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// answer is the answer to a login by a role, with a secret id or without.
func answer(c *api.Call, r *role, s *secret) (*api.Auth, error) {
	a := r.Terms.Auth()
	a.LoginRole = r.Name
	a.DisplayName, a.Metadata = c.DisplayName(""), map[string]string{}
	if s != nil {
		maps.Copy(a.Metadata, s.Metadata)
		var some bool
		if a.BoundCIDRs, some = narrowed(s.TokenCIDRs, r.Terms.BoundCIDRs); !some {
			return nil, api.Deny(errors.New("token_bound_cidrs of the role and of the secret id have no address in common"))
		}
	}
	a.Metadata["role_name"] = r.Name
	a.Alias = &api.Alias{Name: r.RoleID, Metadata: a.Metadata}
	var err error
	a.Private, err = json.Marshal(private{r.Name, r.ID})
	return a, err
}

// renew lets a token live on while its role is there.
func renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	var p private
	if err := json.Unmarshal(s.Private, &p); err != nil {
		return nil, fmt.Errorf("approle: a token's row: %w", store.ErrCorrupt)
	}
	r, err := loadRole(c, c.Store, p.Name)
	if err != nil {
		return nil, err
	}
	if r == nil || r.ID != p.ID {
		return nil, api.Errorf(api.Invalid, "the role of this token is gone, not renewing")
	}
	return answer(c, r, nil)
}
