package aws

import (
	"errors"
	"regexp"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// role is which users and roles of AWS it lets in.
type role struct {
	ID         string         `json:"id"`
	Principals []string       `json:"principals"`
	Token      api.TokenTerms `json:"token"`
}

// RoleName names a role.
type RoleName struct {
	Role api.Name `path:"role"` // The role.
}

// PutRole creates or changes a role; what is absent stays as it was.
type PutRole struct {
	Role       api.Name      `path:"role"`                                                         // The role.
	AuthType   *string       `json:"auth_type"`                                                    // iam, which is the only one.
	Principals *[]string     `json:"bound_iam_principal_arn" audit:"clear"`                        // ARNs of IAM users and roles that are let in; one may end in *, behind the account and the kind.
	UniqueIDs  *bool         `json:"resolve_aws_unique_ids"`                                       // Must be false: the server has no credentials to ask AWS with for unique identifiers.
	Inferred   *string       `json:"inferred_entity_type"`                                         // Must be empty: nothing is inferred of EC2 instances.
	Policies   *[]string     `json:"policies" api:"deprecated,alias=token_policies" audit:"clear"` // Old name of token_policies.
	TTL        *api.Duration `json:"ttl" api:"deprecated,alias=token_ttl"`                         // Old name of token_ttl.
	MaxTTL     *api.Duration `json:"max_ttl" api:"deprecated,alias=token_max_ttl"`                 // Old name of token_max_ttl.
	Period     *api.Duration `json:"period" api:"deprecated,alias=token_period"`                   // Old name of token_period.
	api.TokenFields
}

// Role is a role as it is read.
type Role struct {
	AuthType   string   `json:"auth_type"`
	Principals []string `json:"bound_iam_principal_arn" audit:"clear"`
	ID         string   `json:"role_id" audit:"clear"`
	UniqueIDs  bool     `json:"resolve_aws_unique_ids"`
	Inferred   string   `json:"inferred_entity_type"`
	api.TokenAnswer
}

func load(c *api.Call, name string) (*role, error) {
	return store.LoadJSON[role](c, c.Store, rolePrefix+name)
}

// readRole answers a role.
func (engine) readRole(c *api.Call, q *RoleName) (*Role, error) {
	r, err := load(c, string(q.Role))
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, api.ErrNotFound()
	}
	return &Role{AuthType: "iam", Principals: r.Principals, ID: r.ID, TokenAnswer: r.Token.Answer()}, nil
}

func (engine) hasRole(c *api.Call, q *PutRole) (bool, error) {
	r, err := load(c, string(q.Role))
	return r != nil, err
}

// listRoles names the roles.
func (engine) listRoles(c *api.Call, _ *api.None) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, rolePrefix, "", 0)
	return &api.Keys{Keys: names}, err
}

// deleteRole removes a role. Tokens that it has let in live on, and cannot be renewed.
func (engine) deleteRole(c *api.Call, q *RoleName) (*api.None, error) {
	_, err := c.Store.Commit(c, nil, []store.Write{{Key: rolePrefix + string(q.Role), Delete: true}})
	return nil, err
}

// putRole creates or changes a role.
func (engine) putRole(c *api.Call, q *PutRole) (*api.None, error) {
	if err := q.unsupported(); err != nil {
		return nil, err
	}
	id := api.NewUUID()
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		r := role{ID: id}
		if _, err := tx.LoadJSON(rolePrefix+string(q.Role), &r); err != nil {
			return err
		}
		if q.Principals != nil {
			var err error
			if r.Principals, err = principals(*q.Principals); err != nil {
				return api.Errorf(api.Invalid, "bound_iam_principal_arn: %v", err)
			}
		}
		if len(r.Principals) == 0 {
			return api.Errorf(api.Invalid, "missing bound_iam_principal_arn")
		}
		if err := q.TokenFields.Apply(&r.Token); err != nil {
			return err
		}
		return tx.PutJSON(rolePrefix+string(q.Role), &r)
	})
	return nil, err
}

// unsupported refuses what would be a condition that does not hold.
func (q *PutRole) unsupported() error {
	switch {
	case q.AuthType != nil && *q.AuthType != "iam" && *q.AuthType != "":
		return &api.Error{Kind: api.Invalid, Message: "auth_type: only iam is supported", Hint: "an EC2 instance logs in with the credentials of its instance profile"}
	case q.UniqueIDs != nil && *q.UniqueIDs:
		return &api.Error{Kind: api.Invalid, Message: "resolve_aws_unique_ids: is not supported", Hint: "say false; a user or role that is deleted and made anew under its name is then the same to this role"}
	case q.Inferred != nil && *q.Inferred != "":
		return &api.Error{Kind: api.Invalid, Message: "inferred_entity_type: is not supported", Hint: "bind the role of the instance profile in bound_iam_principal_arn"}
	}
	return nil
}

// principalForm is an ARN of a user or role, whole or up to a * at its end. The account is
// always in it: the same name in another account is somebody else's.
var principalForm = regexp.MustCompile(`^(arn:aws[a-z-]{0,12}:iam::[0-9]{12}:)(user|role)/([\x21-\x7e]*)$`)

var errPrincipals = errors.New("each must be the ARN of an IAM user or role; a pattern has one *, at its end, and for roles no path")

// principals are ARNs in the form that callers have: roles without their path, which is no
// part of their name.
func principals(list []string) ([]string, error) {
	if len(list) > maxItems {
		return nil, errPrincipals
	}
	out := make([]string, len(list))
	for i, text := range list {
		m := principalForm.FindStringSubmatch(text)
		if m == nil || len(text) > maxARN {
			return nil, errPrincipals
		}
		name, isPattern := strings.CutSuffix(m[3], "*")
		last := name[strings.LastIndexByte(name, '/')+1:]
		switch {
		case strings.Contains(name, "*"), !isPattern && last == "", isPattern && m[2] == "role" && last != name:
			return nil, errPrincipals
		case m[2] == "role" && !isPattern:
			text = m[1] + "role/" + last
		}
		out[i] = text
	}
	return out, nil
}

// lets reports whether a role lets somebody in.
func (r *role) lets(who *caller) bool {
	for _, p := range r.Principals {
		prefix, isPattern := strings.CutSuffix(p, "*")
		if p == who.Principal || isPattern && strings.HasPrefix(who.Principal, prefix) {
			return true
		}
	}
	return false
}
