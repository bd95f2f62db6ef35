package token

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Role is the terms within which a holder of the right to use it makes tokens.
type Role struct {
	Name                   string        `json:"name"`
	AllowedPolicies        []string      `json:"allowed,omitempty"`
	AllowedPoliciesGlob    []string      `json:"allowed_glob,omitempty"`
	DisallowedPolicies     []string      `json:"disallowed,omitempty"`
	DisallowedPoliciesGlob []string      `json:"disallowed_glob,omitempty"`
	AllowedEntityAliases   []string      `json:"aliases,omitempty"`
	Orphan                 bool          `json:"orphan,omitempty"`
	Renewable              bool          `json:"renewable"`
	PathSuffix             string        `json:"suffix,omitempty"`
	Period                 time.Duration `json:"period,omitempty"`
	ExplicitMaxTTL         time.Duration `json:"explicit_max,omitempty"`
	OldPeriod              bool          `json:"old_period,omitempty"`       // set under its deprecated name
	OldExplicitMaxTTL      bool          `json:"old_explicit_max,omitempty"` // likewise
	BoundCIDRs             []string      `json:"cidrs,omitempty"`
	NumUses                int           `json:"uses,omitempty"`
	NoDefaultPolicy        bool          `json:"no_default,omitempty"`
	TokenType              string        `json:"type"` // default-service, default-batch, service or batch
}

// restricts reports whether the role has its own rules for policies.
func (r *Role) restricts() bool {
	return len(r.AllowedPolicies)+len(r.AllowedPoliciesGlob)+len(r.DisallowedPolicies)+len(r.DisallowedPoliciesGlob) > 0
}

// kind is the type of a token that is asked for as typ.
func (r *Role) kind(typ string) string {
	switch {
	case r.TokenType == Service || r.TokenType == Batch:
		return r.TokenType
	case typ == "" && r.TokenType == "default-batch":
		return Batch
	}
	return typ
}

// forBatch refuses a batch token by a role with limits that none can have: it
// would be a way out of them.
func (r *Role) forBatch() error {
	if r == nil || r.NumUses == 0 && r.Period == 0 && r.ExplicitMaxTTL == 0 {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Message: "the role limits its tokens in ways that batch tokens cannot be limited",
		Hint: "ask for a service token, or make a role without token_num_uses, token_period and token_explicit_max_ttl"}
}

// shape applies the role to a token.
func (r *Role) shape(t *Token) {
	t.Role = r.Name
	t.Renewable = t.Renewable && r.Renewable
	if r.NumUses > 0 && (t.NumUses == 0 || r.NumUses < t.NumUses) {
		t.NumUses = r.NumUses
	}
	if r.PathSuffix != "" {
		t.Path += "/" + r.PathSuffix
	}
}

// merge is the lesser of the role's and the token's own period and explicit
// maximum.
func (r *Role) merge(t *Token, warn func(string)) (period, explicit time.Duration) {
	period, explicit = lesser(r.Period, t.Period), lesser(r.ExplicitMaxTTL, t.ExplicitMaxTTL)
	if warn != nil && r.ExplicitMaxTTL != 0 && t.ExplicitMaxTTL != 0 {
		warn(fmt.Sprintf("Explicit max TTL specified both during creation call and in role; using the lesser value of %d seconds", int64(explicit/time.Second)))
	}
	if warn != nil && r.Period != 0 && t.Period != 0 {
		warn(fmt.Sprintf("Period specified both during creation call and in role; using the lesser value of %d seconds", int64(period/time.Second)))
	}
	return period, explicit
}

// choose is a token's policies by the role's rules alone; the parent's do not bound it.
func (r *Role) choose(q policyRequest) ([]string, error) {
	addDefault := !q.noDefault && !r.NoDefaultPolicy &&
		!slices.Contains(r.DisallowedPolicies, defaultPolicy) && !matches(r.DisallowedPoliciesGlob, defaultPolicy)
	names := slices.Clone(q.asked)
	restricted := len(r.AllowedPolicies)+len(r.AllowedPoliciesGlob) > 0
	switch {
	case q.given && restricted:
		if slices.ContainsFunc(names, func(n string) bool { return !r.allows(n, addDefault) }) {
			return nil, api.Errorf(api.Invalid, "token policies must be subset of the role's allowed policies")
		}
	case restricted:
		names = slices.Clone(r.AllowedPolicies)
	case !q.given:
		names = slices.Clone(q.parent)
	}
	if slices.Contains(names, rootPolicy) {
		names = []string{rootPolicy}
	}
	if addDefault {
		names = withDefault(names)
	}
	for _, n := range names {
		if slices.Contains(r.DisallowedPolicies, n) || matches(r.DisallowedPoliciesGlob, n) {
			return nil, api.Errorf(api.Invalid, "a token policy is disallowed by this role")
		}
	}
	return names, nil
}

// allows reports whether a policy is among the allowed. The root policy is
// never meant by a glob.
func (r *Role) allows(name string, addDefault bool) bool {
	switch {
	case slices.Contains(r.AllowedPolicies, name):
		return true
	case name == rootPolicy:
		return false
	case name == defaultPolicy && addDefault:
		return true
	}
	return matches(r.AllowedPoliciesGlob, name)
}

// allowsAlias reports whether tokens may be made for an alias of an entity.
func (r *Role) allowsAlias(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(r.AllowedEntityAliases, name) || matches(r.AllowedEntityAliases, name)
}

// matches reports whether name matches one of the globs, in which * stands for
// any text.
func matches(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(g string) bool { return api.Glob(g, name) })
}

func roleKey(ns, name string) string { return ns + "/token/role/" + name }

// role reads a role; nil when there is none.
func (s *Store) role(ctx context.Context, ns, name string) (*Role, error) {
	e, err := s.Store.Get(ctx, roleKey(ns, name))
	if err != nil || !e.Exists() {
		return nil, err
	}
	r := &Role{}
	if err := json.Unmarshal(e.Value, r); err != nil {
		return nil, fmt.Errorf("token: role cannot be read: %w", store.ErrCorrupt)
	}
	return r, nil
}

// RoleName names a role.
type RoleName struct {
	RoleName api.Name `path:"role_name"` // The role.
}

// RoleRequest creates or changes a role; what is absent stays as it was.
type RoleRequest struct {
	RoleName               api.Name      `path:"role_name"`                                                      // The role.
	AllowedPolicies        *[]string     `json:"allowed_policies" audit:"clear"`                                 // Policies that may be asked for.
	AllowedPoliciesGlob    *[]string     `json:"allowed_policies_glob" audit:"clear"`                            // Likewise, with * for any text.
	DisallowedPolicies     *[]string     `json:"disallowed_policies" audit:"clear"`                              // Policies that are refused.
	DisallowedPoliciesGlob *[]string     `json:"disallowed_policies_glob" audit:"clear"`                         // Likewise, with * for any text.
	AllowedEntityAliases   *[]string     `json:"allowed_entity_aliases"`                                         // Entity aliases that may be asked for.
	Orphan                 *bool         `json:"orphan"`                                                         // Tokens have no parent.
	Renewable              *bool         `json:"renewable"`                                                      // Tokens can be renewed.
	PathSuffix             *string       `json:"path_suffix"`                                                    // Appended to the tokens' path.
	Period                 *api.Duration `json:"period" api:"deprecated,alias=token_period"`                     // Old name of token_period.
	ExplicitMaxTTL         *api.Duration `json:"explicit_max_ttl" api:"deprecated,alias=token_explicit_max_ttl"` // Old name of token_explicit_max_ttl.
	BoundCIDRs             *[]string     `json:"bound_cidrs" api:"deprecated,alias=token_bound_cidrs"`           // Old name of token_bound_cidrs.
	TokenPeriod            *api.Duration `json:"token_period"`                                                   // Lifetime after each renewal.
	TokenExplicitMaxTTL    *api.Duration `json:"token_explicit_max_ttl"`                                         // Bound on the whole lifetime.
	TokenBoundCIDRs        *[]string     `json:"token_bound_cidrs"`                                              // Addresses that tokens may be used from.
	TokenNumUses           *int          `json:"token_num_uses"`                                                 // How many requests a token can make.
	TokenNoDefaultPolicy   *bool         `json:"token_no_default_policy"`                                        // Do not attach the default policy.
	TokenType              *string       `json:"token_type"`                                                     // default-service, default-batch, service or batch.
	Aliases                []string      `json:"-" api:"aliases"`
}

// RoleAnswer is a role as it is read.
type RoleAnswer struct {
	AllowedEntityAliases   []string     `json:"allowed_entity_aliases"`
	AllowedPolicies        []string     `json:"allowed_policies" audit:"clear"`
	AllowedPoliciesGlob    []string     `json:"allowed_policies_glob" audit:"clear"`
	DisallowedPolicies     []string     `json:"disallowed_policies" audit:"clear"`
	DisallowedPoliciesGlob []string     `json:"disallowed_policies_glob" audit:"clear"`
	ExplicitMaxTTL         api.Duration `json:"explicit_max_ttl"`
	Name                   api.Name     `json:"name"`
	Orphan                 bool         `json:"orphan"`
	PathSuffix             string       `json:"path_suffix"`
	Period                 api.Duration `json:"period"`
	Renewable              bool         `json:"renewable"`
	TokenBoundCIDRs        []string     `json:"token_bound_cidrs,omitempty"`
	TokenExplicitMaxTTL    api.Duration `json:"token_explicit_max_ttl"`
	TokenNoDefaultPolicy   bool         `json:"token_no_default_policy"`
	TokenNumUses           int          `json:"token_num_uses,omitempty"`
	TokenPeriod            api.Duration `json:"token_period"`
	TokenType              string       `json:"token_type"`
}

// ReadRole shows a role.
func (s *Store) ReadRole(c *api.Call, req *RoleName) (*RoleAnswer, error) {
	r, err := s.role(c, c.Namespace.ID, string(req.RoleName))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, api.ErrNotFound()
	}
	a := &RoleAnswer{
		AllowedEntityAliases: r.AllowedEntityAliases, AllowedPolicies: api.Full(r.AllowedPolicies), AllowedPoliciesGlob: api.Full(r.AllowedPoliciesGlob),
		DisallowedPolicies: api.Full(r.DisallowedPolicies), DisallowedPoliciesGlob: api.Full(r.DisallowedPoliciesGlob),
		Name: api.Name(r.Name), Orphan: r.Orphan, PathSuffix: r.PathSuffix, Renewable: r.Renewable, TokenBoundCIDRs: r.BoundCIDRs,
		TokenExplicitMaxTTL: api.Duration(r.ExplicitMaxTTL), TokenNoDefaultPolicy: r.NoDefaultPolicy,
		TokenNumUses: r.NumUses, TokenPeriod: api.Duration(r.Period), TokenType: r.TokenType,
	}
	if r.OldPeriod {
		a.Period = a.TokenPeriod
	}
	if r.OldExplicitMaxTTL {
		a.ExplicitMaxTTL = a.TokenExplicitMaxTTL
	}
	return a, nil
}

// RoleExists tells a create from an update.
func (s *Store) RoleExists(c *api.Call, req *RoleRequest) (bool, error) {
	r, err := s.role(c, c.Namespace.ID, string(req.RoleName))
	return r != nil, err
}

// WriteRole creates or changes a role.
func (s *Store) WriteRole(c *api.Call, req *RoleRequest) (*api.None, error) {
	name := string(req.RoleName)
	if strings.Contains(name, "/") || name == "" {
		return nil, api.Errorf(api.Invalid, "role_name: is not a name")
	}
	var warnings []string
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		r := &Role{Renewable: true, TokenType: "default-service"}
		e, err := tx.Get(roleKey(c.Namespace.ID, name))
		if err != nil {
			return err
		}
		if e.Exists() {
			if err := json.Unmarshal(e.Value, r); err != nil {
				return fmt.Errorf("token: role cannot be read: %w", store.ErrCorrupt)
			}
		}
		r.Name = name
		if warnings, err = req.apply(r); err != nil {
			return err
		}
		value, err := json.Marshal(r)
		tx.Put(e.Key, value)
		return err
	})
	for _, w := range warnings {
		c.Warn(w)
	}
	return nil, err
}

// DeleteRole removes a role. Tokens made with it live on, but cannot be renewed.
func (s *Store) DeleteRole(c *api.Call, req *RoleName) (*api.None, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		tx.Delete(roleKey(c.Namespace.ID, string(req.RoleName)))
		return nil
	})
	return nil, err
}

// ListRoles names the roles.
func (s *Store) ListRoles(c *api.Call, _ *api.None) (*api.Keys, error) {
	prefix := roleKey(c.Namespace.ID, "")
	r := store.Prefix(prefix)
	r.KeysOnly = true
	es, err := s.Store.List(c, r)
	keys := make([]string, len(es))
	for i, e := range es {
		keys[i] = path.Base(e.Key)
	}
	return &api.Keys{Keys: keys}, err
}

var suffixForm = regexp.MustCompile(`^\w[\w\-.]+\w$`)

// apply changes a role as asked.
func (q *RoleRequest) apply(r *Role) (warnings []string, err error) {
	if err := q.applyPolicies(r); err != nil {
		return nil, err
	}
	api.Set(&r.AllowedEntityAliases, q.AllowedEntityAliases)
	for i, a := range r.AllowedEntityAliases {
		r.AllowedEntityAliases[i] = strings.ToLower(a)
	}
	api.Set(&r.Orphan, q.Orphan)
	api.Set(&r.Renewable, q.Renewable)
	api.Set(&r.PathSuffix, q.PathSuffix)
	api.Set(&r.NumUses, q.TokenNumUses)
	api.Set(&r.NoDefaultPolicy, q.TokenNoDefaultPolicy)
	api.Set(&r.TokenType, q.TokenType)
	q.setDuration(&r.Period, &r.OldPeriod, q.TokenPeriod, "period")
	q.setDuration(&r.ExplicitMaxTTL, &r.OldExplicitMaxTTL, q.TokenExplicitMaxTTL, "explicit_max_ttl")
	api.Set(&r.BoundCIDRs, q.TokenBoundCIDRs)
	return q.ignored(), r.check()
}

// setDuration changes a duration and notes whether it came under its deprecated
// name, under which it is then shown as well.
func (q *RoleRequest) setDuration(dst *time.Duration, isOld *bool, v *api.Duration, old string) {
	if v != nil {
		*dst, *isOld = v.Std(), slices.Contains(q.Aliases, old)
	}
}

// ignored warns of durations under their deprecated names that the new ones
// were sent beside.
func (q *RoleRequest) ignored() []string {
	var out []string
	for _, f := range []struct {
		old  *api.Duration
		name string
	}{{q.Period, "period"}, {q.ExplicitMaxTTL, "explicit_max_ttl"}} {
		if f.old != nil && !slices.Contains(q.Aliases, f.name) {
			out = append(out, fmt.Sprintf("Both 'token_%s' and deprecated '%s' value supplied, ignoring the deprecated value", f.name, f.name))
		}
	}
	return out
}

func (q *RoleRequest) applyPolicies(r *Role) error {
	for _, f := range []struct {
		dst  *[]string
		src  *[]string
		glob bool
	}{
		{&r.AllowedPolicies, q.AllowedPolicies, false},
		{&r.DisallowedPolicies, q.DisallowedPolicies, false},
		{&r.AllowedPoliciesGlob, q.AllowedPoliciesGlob, true},
		{&r.DisallowedPoliciesGlob, q.DisallowedPoliciesGlob, true},
	} {
		if f.src == nil {
			continue
		}
		names, err := roleNames(*f.src, f.glob)
		if err != nil {
			return err
		}
		*f.dst = names
	}
	return nil
}

// roleNames are the canonical names of a list in a role. Unlike those of a
// token, the root policy among them does not stand for all.
func roleNames(names []string, globs bool) ([]string, error) {
	out := make([]string, 0, len(names))
	for _, n := range names {
		c, err := policy.CanonicalName(strings.ReplaceAll(n, "*", ""))
		switch {
		case globs && c == "":
			c, err = "*", nil
		case globs && err == nil:
			c = strings.ToLower(strings.TrimSpace(n))
		case strings.Contains(n, "*"):
			err = errMalformed
		}
		if err != nil || c != rootPolicy && policy.IsRoot(c) {
			return nil, api.Errorf(api.Invalid, "policies: a name is malformed")
		}
		out = append(out, c)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// check refuses a role whose tokens could not be made.
func (r *Role) check() error {
	switch {
	case r.PathSuffix != "" && !suffixForm.MatchString(r.PathSuffix):
		return api.Errorf(api.Invalid, `given role path suffix contains invalid characters; must match \w[\w-.]+\w`)
	case r.Period < 0 || r.ExplicitMaxTTL < 0 || r.NumUses < 0:
		return api.Errorf(api.Invalid, "token_period, token_explicit_max_ttl and token_num_uses cannot be negative")
	case !slices.Contains([]string{"default-service", "default-batch", Service, Batch}, r.TokenType):
		return api.Errorf(api.Invalid, "invalid 'token_type' value")
	}
	for _, c := range r.BoundCIDRs {
		if _, err := parseCIDR(c); err != nil {
			return api.Errorf(api.Invalid, "error parsing bound_cidrs: not an address or a range of addresses")
		}
	}
	return r.checkBatch()
}

func (r *Role) checkBatch() error {
	bad := ""
	switch {
	case r.TokenType != Batch:
		return nil
	case !r.Orphan:
		bad = "non-orphan"
	case r.Period != 0:
		bad = "periodic"
	case r.Renewable:
		bad = "renewable"
	case r.NumUses != 0:
		bad = "limited use"
	case r.ExplicitMaxTTL != 0:
		return api.Errorf(api.Invalid, "'token_type' cannot be 'batch' when role is set to generate tokens with an explicit max TTL")
	default:
		return nil
	}
	return api.Errorf(api.Invalid, "'token_type' cannot be 'batch' when role is set to generate %s tokens", bad)
}
