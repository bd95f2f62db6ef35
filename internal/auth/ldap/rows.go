package ldap

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of what a row holds.
const (
	maxName     = 512  // bytes of a name
	maxPolicies = 1000 // of a user or group
	maxLocal    = 1000 // groups that a user's row adds
)

// user is what the method says of an account of the directory, beside the directory.
type user struct {
	Policies []string `json:"policies,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// group is what the members of a group get.
type group struct {
	Policies []string `json:"policies,omitempty"`
}

// Named names a user or group of the method.
type Named struct {
	Name api.Name `path:"name"` // Name of the user or group.
}

// Page asks for names.
type Page struct {
	After string `json:"after"` // Only names that sort behind this one.
	Limit int    `json:"limit"` // At most so many names; 0: all.
}

// UserRequest sets what an account of the directory gets in addition.
type UserRequest struct {
	Name     api.Name `path:"name"`                   // Name of the account.
	Policies []string `json:"policies" audit:"clear"` // Policies of its tokens.
	Groups   []string `json:"groups" audit:"clear"`   // Further groups that it is taken to be in.
}

// UserAnswer is a user as it is read.
type UserAnswer struct {
	Groups   string   `json:"groups" audit:"clear"` // comma-separated, as clients expect
	Policies []string `json:"policies" audit:"clear"`
}

// GroupRequest sets what the members of a group get.
type GroupRequest struct {
	Name     api.Name `path:"name"`                   // Name of the group.
	Policies []string `json:"policies" audit:"clear"` // Policies of its members' tokens.
}

// GroupAnswer is a group as it is read.
type GroupAnswer struct {
	Policies []string `json:"policies" audit:"clear"`
}

// rowOf is the key of a name's row, whatever its spelling.
func rowOf(prefix, name string) string { return prefix + strings.ToLower(tidy(name)) }

func checkName(name api.Name) error {
	switch {
	case name == "":
		return &api.Error{Kind: api.Invalid, Message: "missing name", Hint: "it ends the path: users/NAME, groups/NAME"}
	case len(name) > maxName:
		return api.Errorf(api.Invalid, "name: is longer than %d bytes", maxName)
	}
	return nil
}

// policiesOf is a list of policies in canonical spelling. The root policy is in no such list.
func policiesOf(names []string) ([]string, error) {
	out := make([]string, 0, len(names))
	for _, n := range names {
		if n = strings.ToLower(strings.TrimSpace(n)); n == "root" {
			return nil, api.Errorf(api.Invalid, "policies: the root policy cannot be attached by a login")
		} else if n != "" {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxPolicies {
		return nil, api.Errorf(api.Invalid, "policies: are more than %d", maxPolicies)
	}
	return out, nil
}

// groupsOf is a list of groups in canonical spelling.
func groupsOf(names []string) ([]string, error) {
	out := make([]string, 0, len(names))
	for _, n := range names {
		if n = strings.ToLower(tidy(n)); len(n) > maxName || strings.Contains(n, ",") {
			return nil, api.Errorf(api.Invalid, "groups: a name is longer than %d bytes, or holds a comma", maxName)
		} else if n != "" {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxLocal {
		return nil, api.Errorf(api.Invalid, "groups: are more than %d", maxLocal)
	}
	return out, nil
}

// readUser shows what an account gets in addition to what its groups give.
func (engine) readUser(c *api.Call, q *Named) (*UserAnswer, error) {
	var u user
	switch ok, err := load(stored(c), rowOf(prefixUser, string(q.Name)), &u); {
	case err != nil:
		return nil, err
	case !ok:
		return nil, api.ErrNotFound()
	}
	return &UserAnswer{Groups: strings.Join(u.Groups, ","), Policies: api.Full(u.Policies)}, nil
}

func (engine) hasUser(c *api.Call, q *UserRequest) (bool, error) {
	return load(stored(c), rowOf(prefixUser, string(q.Name)), &user{})
}

// writeUser sets what an account of the directory gets in addition to what its groups give.
// It replaces what was set before. The account need not exist.
func (engine) writeUser(c *api.Call, q *UserRequest) (*api.None, error) {
	if err := checkName(q.Name); err != nil {
		return nil, err
	}
	var u user
	var err error
	if u.Policies, err = policiesOf(q.Policies); err != nil {
		return nil, err
	}
	if u.Groups, err = groupsOf(q.Groups); err != nil {
		return nil, err
	}
	return nil, save(c, c.Store, rowOf(prefixUser, string(q.Name)), &u)
}

// deleteUser forgets what an account gets in addition. It can still log in.
func (engine) deleteUser(c *api.Call, q *Named) (*api.None, error) {
	return nil, remove(c, c.Store, rowOf(prefixUser, string(q.Name)))
}

// listUsers names the accounts that get something in addition.
func (engine) listUsers(c *api.Call, q *Page) (*api.Keys, error) { return list(c, prefixUser, q) }

// readGroup shows what the members of a group get.
func (engine) readGroup(c *api.Call, q *Named) (*GroupAnswer, error) {
	var g group
	switch ok, err := load(stored(c), rowOf(prefixGroup, string(q.Name)), &g); {
	case err != nil:
		return nil, err
	case !ok:
		return nil, api.ErrNotFound()
	}
	return &GroupAnswer{Policies: api.Full(g.Policies)}, nil
}

func (engine) hasGroup(c *api.Call, q *GroupRequest) (bool, error) {
	return load(stored(c), rowOf(prefixGroup, string(q.Name)), &group{})
}

// writeGroup sets what the members of a group get. It replaces what was set before. The
// directory need not have the group.
func (engine) writeGroup(c *api.Call, q *GroupRequest) (*api.None, error) {
	if err := checkName(q.Name); err != nil {
		return nil, err
	}
	names, err := policiesOf(q.Policies)
	if err != nil {
		return nil, err
	}
	return nil, save(c, c.Store, rowOf(prefixGroup, string(q.Name)), &group{names})
}

// deleteGroup forgets what the members of a group get.
func (engine) deleteGroup(c *api.Call, q *Named) (*api.None, error) {
	return nil, remove(c, c.Store, rowOf(prefixGroup, string(q.Name)))
}

// listGroups names the groups whose members get something.
func (engine) listGroups(c *api.Call, q *Page) (*api.Keys, error) { return list(c, prefixGroup, q) }

func list(c *api.Call, prefix string, q *Page) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, prefix, q.After, max(0, q.Limit))
	return &api.Keys{Keys: names}, err
}

// policiesFor are the policies that a user and some groups have by their rows.
func policiesFor(get getter, u *user, groups []string) ([]string, error) {
	out := slices.Clone(u.Policies)
	for _, name := range groups {
		var g group
		if _, err := load(get, rowOf(prefixGroup, name), &g); err != nil {
			return nil, err
		}
		out = append(out, g.Policies...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
