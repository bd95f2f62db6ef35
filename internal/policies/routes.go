package policies

import (
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
)

// Routes are the endpoints under sys/ for policies.
func Routes() []api.Route[*Store] {
	return slices.Concat(passwordRoutes(), []api.Route[*Store]{
		api.Handle(api.Read, "policy", (*Store).listLegacy, api.Flat),
		api.Handle(api.List, "policy", (*Store).listLegacy, api.Flat),
		api.Handle(api.Read, "policy/{name}", (*Store).readLegacy, api.Flat),
		api.Handle(api.List, "policy/{name}", (*Store).listBelow),
		api.Handle(api.Write, "policy/{name}", (*Store).write),
		api.Handle(api.Delete, "policy/{name}", (*Store).remove),
		api.Handle(api.List, "policies/acl", (*Store).list),
		api.Handle(api.List, "policies/acl/{name}", (*Store).listBelow),
		api.Handle(api.Read, "policies/acl/{name}", (*Store).readACL),
		api.Handle(api.Write, "policies/acl/{name}", (*Store).write),
		api.Handle(api.Delete, "policies/acl/{name}", (*Store).remove),
		api.Handle(api.Patch, "policies/acl/{name}", (*Store).patch),
		api.Handle(api.Write, "policy", (*Store).nameless, api.Hidden),
		api.Handle(api.Delete, "policy", (*Store).nameless, api.Hidden),
		api.Handle(api.Write, "policies/acl", (*Store).nameless, api.Hidden),
		api.Handle(api.Delete, "policies/acl", (*Store).nameless, api.Hidden),
		api.Handle(api.List, "policies/detailed/acl", (*Store).listDetailed),
		api.Handle(api.List, "policies/detailed/acl/{prefix...}", (*Store).listDetailedBelow),
	})
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
	TermsRequest
}

// PatchRequest changes a policy in what it gives.
type PatchRequest struct {
	Name   api.Name `path:"name"`                 // Name of the policy.
	Policy string   `json:"policy" audit:"clear"` // Text of the policy in HCL or JSON, plain or in base64; empty: as before.
	TermsRequest
}

// TermsRequest is how a policy is written, beside its text.
type TermsRequest struct {
	CAS         *int          `json:"cas"`                                   // Write only if this is the policy's version; 0 or -1: only if there is none.
	CASRequired *bool         `json:"cas_required"`                          // Demand cas on every later write.
	Expiration  api.Time      `json:"expiration"`                            // When the policy ends, as RFC 3339 text or in seconds since 1970.
	TTL         *api.Duration `json:"ttl"`                                   // How long the policy lasts, in place of expiration.
	Slashes     bool          `json:"allow_slashes_in_identity_templates"`   // Not supported: a name of an identity must not move a path.
	Wildcards   bool          `json:"allow_wildcards_in_identity_templates"` // Not supported: a name of an identity must not widen a path.
}

// terms are what is asked for at a moment.
func (q *TermsRequest) terms(now time.Time) (Terms, error) {
	t := Terms{CAS: q.CAS, CASRequired: q.CASRequired, Expires: q.Expiration.Time}
	switch {
	case q.Slashes || q.Wildcards:
		return t, &api.Error{Kind: api.Invalid, Message: "values of identity templates never hold slashes or wildcards here", Hint: "leave allow_slashes_in_identity_templates and allow_wildcards_in_identity_templates out"}
	case q.TTL != nil && !t.Expires.IsZero():
		return t, api.Errorf(api.Invalid, "cannot supply both 'expiration' and 'ttl' for policies")
	case q.TTL != nil && *q.TTL < 0:
		return t, api.Errorf(api.Invalid, "ttl: must not be negative")
	case q.TTL != nil:
		t.Expires = now.Add(q.TTL.Std())
	}
	return t, nil
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
	Described
}

// Described is what is known of a policy beside its text.
type Described struct {
	CASRequired bool      `json:"cas_required"`
	Expiration  *api.Time `json:"expiration,omitempty"`
	Slashes     bool      `json:"allow_slashes_in_identity_templates"`
	Wildcards   bool      `json:"allow_wildcards_in_identity_templates"`
}

func (r *row) terms() Described {
	d := Described{CASRequired: r.CASRequired}
	if !r.Expires.IsZero() {
		d.Expiration = &api.Time{Time: r.Expires}
	}
	return d
}

// Policy is a policy with its text.
type Policy struct {
	Name     string   `json:"name"`
	Policy   string   `json:"policy"`
	Modified api.Time `json:"modified"`
	Version  int      `json:"version"`
	Described
}

func (r *row) describe() *Policy {
	return &Policy{Name: r.Name, Policy: r.Text, Modified: api.Time{Time: r.Modified}, Version: r.Version, Described: r.terms()}
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

// UnderRequest asks for a page of the names that begin with another.
type UnderRequest struct {
	Name api.Name `path:"name"` // What the names begin with, up to a slash.
	PageRequest
}

// listBelow lists the policies whose names begin with another and a slash. It is
// what ?list=true makes of reading a policy; NotFound where there are none.
func (s *Store) listBelow(c *api.Call, q *UnderRequest) (*api.Keys, error) {
	names, err := s.below(c, string(q.Name)+"/")
	if err != nil {
		return nil, err
	}
	return &api.Keys{Keys: page(names, &q.PageRequest)}, nil
}

// below are the names of the policies that begin with a text.
func (s *Store) below(c *api.Call, prefix string) ([]string, error) {
	names, err := s.Names(c, c.Namespace.ID)
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) }), err
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
	return s.details(c, "", q)
}

// BelowRequest asks for a page of the names that begin with a path.
type BelowRequest struct {
	Prefix string `path:"prefix"` // What the names begin with, up to a slash.
	PageRequest
}

// listDetailedBelow lists the policies below a path with what is known of each.
func (s *Store) listDetailedBelow(c *api.Call, q *BelowRequest) (*api.Keys, error) {
	return s.details(c, strings.TrimSuffix(q.Prefix, "/")+"/", &q.PageRequest)
}

func (s *Store) details(c *api.Call, below string, q *PageRequest) (*api.Keys, error) {
	names, err := s.below(c, below)
	if err != nil {
		return nil, err
	}
	out := &api.Keys{Keys: page(names, q), Info: map[string]any{}}
	for _, name := range out.Keys {
		r, err := s.read(c, c.Namespace.ID, name)
		switch {
		case api.KindOf(err) == api.NotFound: // it went meanwhile
		case err != nil:
			return nil, err
		default:
			out.Info[name] = r.describe()
		}
	}
	return out, nil
}

// readLegacy answers a policy's text, in the older form.
func (s *Store) readLegacy(c *api.Call, q *NameRequest) (*LegacyPolicy, error) {
	r, err := s.read(c, c.Namespace.ID, string(q.Name))
	if err != nil {
		return nil, err
	}
	return &LegacyPolicy{Name: r.Name, Rules: r.Text, Modified: api.Time{Time: r.Modified}, Version: r.Version, Described: r.terms()}, nil
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
	terms, err := q.terms(c.Now)
	if err != nil {
		return nil, err
	}
	if err := s.Write(c, c.Namespace.ID, string(q.Name), q.Policy, terms); err != nil {
		return nil, err
	}
	return nil, s.doubt(c, string(q.Name), q.Policy)
}

// doubt warns of templates for which nobody has a value: their rules are in force for nobody.
func (s *Store) doubt(c *api.Call, name, text string) error {
	p, err := policy.Parse(name, plain(text))
	if err != nil {
		return nil
	}
	unknown, accessors := p.Unknown()
	if len(unknown) > 0 {
		c.Warn("policy: a template in a path names nothing that identities have, so that its rule is in force for nobody: {{" + unknown[0] + "}}")
	}
	for _, a := range accessors {
		if s.Accessor == nil {
			break
		}
		there, err := s.Accessor(c, c.Namespace.ID, a)
		if err != nil {
			return err
		}
		if !there {
			c.Warn("policy: a template in a path names an accessor that no auth method of this namespace has, so that its rule is in force for nobody: " + a)
			break
		}
	}
	return nil
}

// patch changes a policy in what the request gives.
func (s *Store) patch(c *api.Call, q *PatchRequest) (*api.None, error) {
	terms, err := q.terms(c.Now)
	if err != nil {
		return nil, err
	}
	if err := s.Patch(c, c.Namespace.ID, string(q.Name), q.Policy, terms); err != nil || q.Policy == "" {
		return nil, err
	}
	return nil, s.doubt(c, string(q.Name), q.Policy)
}

// nameless answers a request to write or delete that names no policy.
func (s *Store) nameless(*api.Call, *api.None) (*api.None, error) {
	return nil, api.Errorf(api.Invalid, "name: missing the policy's name, which the path ends in")
}

// remove deletes a policy. Tokens that name it lose what it granted.
func (s *Store) remove(c *api.Call, q *NameRequest) (*api.None, error) {
	return nil, s.Delete(c, c.Namespace.ID, string(q.Name))
}
