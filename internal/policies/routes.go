package policies

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Routes are the endpoints under sys/ for policies.
func Routes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Read, "policy", (*Store).listLegacy, api.Flat),
		api.Handle(api.List, "policy", (*Store).listLegacy, api.Flat),
		api.Handle(api.Read, "policy/{name}", (*Store).readLegacy, api.Flat),
		api.Handle(api.Write, "policy/{name}", (*Store).write),
		api.Handle(api.Delete, "policy/{name}", (*Store).remove),
		api.Handle(api.List, "policies/acl", (*Store).list),
		api.Handle(api.Read, "policies/acl/{name}", (*Store).readACL),
		api.Handle(api.Write, "policies/acl/{name}", (*Store).write),
		api.Handle(api.Delete, "policies/acl/{name}", (*Store).remove),
		api.Handle(api.Write, "policy", (*Store).nameless, api.Hidden),
		api.Handle(api.Delete, "policy", (*Store).nameless, api.Hidden),
		api.Handle(api.Write, "policies/acl", (*Store).nameless, api.Hidden),
		api.Handle(api.Delete, "policies/acl", (*Store).nameless, api.Hidden),
		api.Handle(api.List, "policies/detailed/acl", (*Store).listDetailed),
	}
}

// NameRequest names a policy.
type NameRequest struct {
	Name api.Name `path:"name"` // Name of the policy.
}

// WriteRequest creates or replaces a policy.
type WriteRequest struct {
	Name    api.Name `path:"name"`                                              // Name of the policy.
	Policy  string   `json:"policy" audit:"clear"`                              // Text of the policy in HCL or JSON, plain or in base64.
	Rules   string   `json:"rules" audit:"clear" api:"deprecated,alias=policy"` // Older name of policy.
	Aliases []string `json:"-" api:"aliases"`
}

// PageRequest asks for a page of names.
type PageRequest struct {
	After string `json:"after"` // List the names behind this one.
	Limit int    `json:"limit"` // List at most so many; 0 or less: all.
}

// Legacy is the older form of a list of policies.
type Legacy struct {
	Keys     []string `json:"keys"`
	Policies []string `json:"policies"`
}

// LegacyPolicy is the older form of a policy.
type LegacyPolicy struct {
	Name     string   `json:"name"`
	Rules    string   `json:"rules"`
	Modified api.Time `json:"modified"`
	Version  int      `json:"version"`
}

// Policy is a policy with its text.
type Policy struct {
	Name     string   `json:"name"`
	Policy   string   `json:"policy"`
	Modified api.Time `json:"modified"`
	Version  int      `json:"version"`
}

func (r *row) describe() *Policy {
	return &Policy{Name: r.Name, Policy: r.Text, Modified: api.Time{Time: r.Modified}, Version: r.Version}
}

// listLegacy lists the names of all policies.
func (s *Store) listLegacy(c *api.Call, _ *api.None) (*Legacy, error) {
	names, err := s.Names(c, c.Namespace.ID)
	return &Legacy{Keys: names, Policies: names}, err
}

// list lists the names of all policies.
func (s *Store) list(c *api.Call, q *PageRequest) (*api.Keys, error) {
	names, err := s.Names(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	return &api.Keys{Keys: page(names, q)}, nil
}

func page(names []string, q *PageRequest) []string {
	for len(names) > 0 && q.After != "" && names[0] <= q.After {
		names = names[1:]
	}
	if q.Limit > 0 && len(names) > q.Limit {
		names = names[:q.Limit]
	}
	return names
}

// listDetailed lists all policies with what is known of each.
func (s *Store) listDetailed(c *api.Call, q *PageRequest) (*api.Keys, error) {
	es, err := s.rows(c, c.Namespace.ID, false)
	if err != nil {
		return nil, err
	}
	names, err := s.Names(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	out := &api.Keys{Keys: page(names, q), Info: map[string]any{}}
	for _, e := range es {
		name := strings.TrimPrefix(e.Key, prefix(c.Namespace.ID))
		if !slices.Contains(out.Keys, name) {
			continue
		}
		r, err := store.DecodeJSON[row](e)
		if err != nil {
			return nil, err
		}
		out.Info[name] = r.describe()
	}
	return out, nil
}

// readLegacy answers a policy's text, in the older form.
func (s *Store) readLegacy(c *api.Call, q *NameRequest) (*LegacyPolicy, error) {
	r, err := s.read(c, c.Namespace.ID, string(q.Name))
	if err != nil {
		return nil, err
	}
	return &LegacyPolicy{Name: r.Name, Rules: r.Text, Modified: api.Time{Time: r.Modified}, Version: r.Version}, nil
}

// readACL answers a policy's text.
func (s *Store) readACL(c *api.Call, q *NameRequest) (*Policy, error) {
	r, err := s.read(c, c.Namespace.ID, string(q.Name))
	if err != nil {
		return nil, err
	}
	return r.describe(), nil
}

// write creates or replaces a policy.
func (s *Store) write(c *api.Call, q *WriteRequest) (*api.None, error) {
	if len(q.Aliases) > 0 {
		c.Warn("rules is deprecated: use policy")
	}
	return nil, s.Write(c, c.Namespace.ID, string(q.Name), q.Policy)
}

// nameless answers a request to write or delete that names no policy.
func (s *Store) nameless(*api.Call, *api.None) (*api.None, error) {
	return nil, api.Errorf(api.Invalid, "name: missing the policy's name, which the path ends in")
}

// remove deletes a policy. Tokens that name it lose what it granted.
func (s *Store) remove(c *api.Call, q *NameRequest) (*api.None, error) {
	return nil, s.Delete(c, c.Namespace.ID, string(q.Name))
}
