package aws

import (
	"errors"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/store"
)

// role is which users and roles of AWS it lets in.
type role struct {
	ID         string         `json:"id"`
	Principals []string       `json:"principals"`
	Token      api.TokenTerms `json:"token"`
	Old        authrole.Old   `json:"old,omitempty"`
}

// ByRole is the part of a request that names a role.
type ByRole struct {
	Role api.Name `path:"role"` // The role.
}

// RoleName implements authrole.Named.
func (q ByRole) RoleName() api.Name { return q.Role }

// PutRole creates or changes a role; what is absent stays as it was.
type PutRole struct {
	ByRole
	AuthType   *string   `json:"auth_type"`                             // iam, which is the only one.
	Principals *[]string `json:"bound_iam_principal_arn" audit:"clear"` // ARNs of IAM users and roles that are let in; one may end in *, behind the account and the kind.
	UniqueIDs  *bool     `json:"resolve_aws_unique_ids"`                // Must be false: the server has no credentials to ask AWS with for unique identifiers.
	Inferred   *string   `json:"inferred_entity_type"`                  // Must be empty: nothing is inferred of EC2 instances.
	Accounts   []string  `json:"bound_account_id"`                      // Must be empty, as what follows: of EC2 instances.
	Regions    []string  `json:"bound_region"`                          // Must be empty.
	Images     []string  `json:"bound_ami_id"`                          // Must be empty.
	VPCs       []string  `json:"bound_vpc_id"`                          // Must be empty.
	Subnets    []string  `json:"bound_subnet_id"`                       // Must be empty.
	Roles      []string  `json:"bound_iam_role_arn"`                    // Must be empty.
	Profiles   []string  `json:"bound_iam_instance_profile_arn"`        // Must be empty.
	Instances  []string  `json:"bound_ec2_instance_id"`                 // Must be empty.
	RoleTag    string    `json:"role_tag"`                              // Must be empty.
	authrole.OldFields
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
	authrole.OldAnswer
}

// readRole answers a role.
func (engine) readRole(c *api.Call, q *ByRole) (*Role, error) {
	r, err := authrole.Find[role](c, q.RoleName())
	if err != nil {
		return nil, err
	}
	return &Role{AuthType: "iam", Principals: r.Principals, ID: r.ID, TokenAnswer: r.Token.Answer(), OldAnswer: r.Old.Answer(r.Token.Answer())}, nil
}

// putRole creates or changes a role.
func (engine) putRole(c *api.Call, q *PutRole) (*api.None, error) {
	_, err := authrole.Change(c, q.RoleName(), q.apply)
	return nil, err
}

func (q *PutRole) apply(_ *store.Tx, r *role) error {
	if err := q.unsupported(); err != nil {
		return err
	}
	if r.ID == "" { // it is new
		r.ID = api.NewUUID()
	}
	if q.Principals != nil {
		var err error
		if r.Principals, err = principals(*q.Principals); err != nil {
			return api.Errorf(api.Invalid, "bound_iam_principal_arn: %v", err)
		}
	}
	if len(r.Principals) == 0 {
		return &api.Error{Kind: api.Invalid, Message: "missing bound_iam_principal_arn", Hint: "send the ARNs of IAM users and roles that are let in, such as arn:aws:iam::123456789012:role/web"}
	}
	r.Old.Note(&q.TokenFields, q.Aliases)
	return q.TokenFields.Apply(&r.Token)
}

// unsupported refuses what would be a condition that does not hold.
func (q *PutRole) unsupported() error {
	switch {
	case q.AuthType != nil && *q.AuthType != "iam" && *q.AuthType != "":
		return &api.Error{Kind: api.Invalid, Message: "auth_type: only iam is supported", Hint: "an EC2 instance logs in with the credentials of its instance profile"}
	case q.UniqueIDs != nil && *q.UniqueIDs:
		return &api.Error{Kind: api.Invalid, Message: "resolve_aws_unique_ids: is not supported", Hint: "say false; a user or role that is deleted and made anew under its name is then the same to this role"}
	case q.Inferred != nil && *q.Inferred != "":
		return errInstances("inferred_entity_type")
	}
	for _, f := range []struct {
		name string
		list []string
	}{{"bound_account_id", q.Accounts}, {"bound_region", q.Regions}, {"bound_ami_id", q.Images}, {"bound_vpc_id", q.VPCs}, {"bound_subnet_id", q.Subnets}, {"bound_iam_role_arn", q.Roles},
		{"bound_iam_instance_profile_arn", q.Profiles}, {"bound_ec2_instance_id", q.Instances}} {
		if len(f.list) > 0 {
			return errInstances(f.name)
		}
	}
	if q.RoleTag != "" {
		return errInstances("role_tag")
	}
	return nil
}

// errInstances is for a condition on EC2 instances: to pass it over would let in others.
func errInstances(field string) error {
	return &api.Error{Kind: api.Invalid, Message: field + ": is not supported, nothing is known of EC2 instances", Hint: "bind the role of the instance profile in bound_iam_principal_arn"}
}

// principalForm is an ARN of a user or role, whole or up to a * at its end. The account is
// always in it: the same name in another account is somebody else's.
var principalForm = api.Regexp(`^(arn:aws[a-z-]{0,12}:iam::[0-9]{12}:)(user|role)/([\x21-\x7e]*)$`)

var errPrincipals = errors.New("each must be the ARN of an IAM user or role; a pattern has one *, at its end, and for roles no path")

// principals are ARNs in the form that callers have: roles without their path, which is no
// part of their name.
func principals(list []string) ([]string, error) {
	if len(list) > maxItems {
		return nil, errPrincipals
	}
	out := make([]string, len(list))
	for i, text := range list {
		m := principalForm().FindStringSubmatch(text)
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
