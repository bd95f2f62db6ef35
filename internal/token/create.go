package token

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// CreateRequest asks for a child of the calling token.
type CreateRequest struct {
	ID              api.Secret        `json:"id"`                               // The token's text, for callers with sudo; generated when empty.
	Policies        []string          `json:"policies" audit:"clear"`           // Policies of the token; the parent's when empty.
	NoDefaultPolicy bool              `json:"no_default_policy"`                // Do not attach the default policy.
	NoParent        bool              `json:"no_parent"`                        // Make an orphan; takes sudo.
	Meta            map[string]string `json:"meta"`                             // Metadata, shown in the audit log.
	Renewable       bool              `json:"renewable" default:"true"`         // Whether the token can be renewed.
	TTL             api.Duration      `json:"ttl"`                              // First lifetime.
	Lease           api.Duration      `json:"lease" api:"deprecated,alias=ttl"` // Older name of ttl.
	ExplicitMaxTTL  api.Duration      `json:"explicit_max_ttl"`                 // Bound on the whole lifetime, renewals included.
	Period          api.Duration      `json:"period"`                           // Lifetime after each renewal, without a maximum; takes sudo.
	DisplayName     string            `json:"display_name"`                     // Appended to token- for the audit log.
	NumUses         int               `json:"num_uses"`                         // How many requests it can make; 0: any number.
	Type            string            `json:"type"`                             // service or batch.
	EntityAlias     string            `json:"entity_alias"`                     // Alias of the entity; with a role that allows it.
}

// CreateWithRoleRequest asks for a token within the terms of a role.
type CreateWithRoleRequest struct {
	RoleName api.Name `path:"role_name"` // The role.
	CreateRequest
}

// Create makes a child of the calling token.
func (s *Store) Create(c *api.Call, req *CreateRequest) (*api.Auth, error) {
	return s.createChild(c, *req, nil, false)
}

// CreateOrphan makes a token without a parent.
func (s *Store) CreateOrphan(c *api.Call, req *CreateRequest) (*api.Auth, error) {
	return s.createChild(c, *req, nil, true)
}

// CreateWithRole makes a token within the terms of a role.
func (s *Store) CreateWithRole(c *api.Call, req *CreateWithRoleRequest) (*api.Auth, error) {
	role, err := s.role(c, c.Namespace.ID, string(req.RoleName))
	if err != nil {
		return nil, err
	}
	if role == nil {
		return nil, api.Errorf(api.Invalid, "unknown role")
	}
	return s.createChild(c, req.CreateRequest, role, false)
}

// child is one creation on its way.
type child struct {
	store  *Store
	call   *api.Call
	req    CreateRequest
	role   *Role // nil: none
	parent *Token
	sudo   bool
	orphan bool
}

func (s *Store) createChild(c *api.Call, req CreateRequest, role *Role, orphan bool) (*api.Auth, error) {
	parent, err := s.caller(c)
	if err != nil {
		return nil, err
	}
	ch := &child{store: s, call: c, req: req, role: role, parent: parent, sudo: c.Caller.Sudo || c.Caller.Root, orphan: orphan}
	if err := ch.checkCaller(); err != nil {
		return nil, err
	}
	if err := ch.checkRequest(); err != nil {
		return nil, err
	}
	t, err := ch.token()
	if err != nil {
		return nil, err
	}
	period, err := ch.setTTL(t)
	if err != nil {
		return nil, err
	}
	text, err := s.create(c, t, creation{custom: req.ID, exempt: parent.Root()})
	if err != nil {
		return nil, err
	}
	if err := s.warnOfMissing(c, t.Policies); err != nil {
		return nil, err
	}
	auth := t.auth(text)
	auth.Period = period
	return auth, nil
}

// caller is the calling token as it is now, a use of it having been counted.
func (s *Store) caller(c *api.Call) (*Token, error) {
	if c.Caller.Batch {
		return s.Lookup(c, c.Caller.Token.Reveal(), c.Now)
	}
	return s.current(c, rowKey{c.Caller.Namespace.ID, c.Caller.TokenID})
}

// checkCaller refuses callers that may have no children.
func (ch *child) checkCaller() error {
	p := ch.parent
	switch {
	case p == nil || !p.Alive(ch.call.Now):
		return errNoParent()
	case p.Type == Batch:
		return api.Errorf(api.Invalid, "batch tokens cannot create more tokens")
	case p.NumUses > 0:
		return api.Errorf(api.Invalid, "restricted use token cannot generate child tokens")
	case ch.foreign() && !ch.sudo:
		return api.Errorf(api.Invalid, "root or sudo privileges required to directly generate a token in a child namespace")
	}
	return nil
}

// foreign reports whether the token is made in another namespace than its parent's.
func (ch *child) foreign() bool { return ch.parent.NamespaceID != ch.call.Namespace.ID }

func (ch *child) checkRequest() error {
	r := ch.req
	switch {
	case r.NumUses < 0:
		return api.Errorf(api.Invalid, "number of uses cannot be negative")
	case r.TTL < 0:
		return api.Errorf(api.Invalid, "ttl must be positive")
	case r.ExplicitMaxTTL < 0:
		return api.Errorf(api.Invalid, "explicit_max_ttl must be positive")
	case r.Period < 0:
		return api.Errorf(api.Invalid, "period must be positive")
	case r.EntityAlias != "" && ch.role == nil:
		return api.Errorf(api.Invalid, "'entity_alias' is only allowed in combination with token role")
	case r.EntityAlias != "" && (ch.store.Entity == nil || !ch.role.allowsAlias(r.EntityAlias)):
		return api.Errorf(api.Invalid, "invalid 'entity_alias' value")
	}
	return ch.checkRights()
}

// checkRights refuses what takes sudo.
func (ch *child) checkRights() error {
	r := ch.req
	switch {
	case r.Period > 0 && !ch.sudo:
		return api.Errorf(api.Invalid, "root or sudo privileges required to create periodic token")
	case r.NoParent && ch.role == nil && !ch.sudo:
		return api.Errorf(api.Invalid, "root or sudo privileges required to create orphan token")
	case !r.ID.Empty() && !ch.sudo:
		return api.Errorf(api.Invalid, "root or sudo privileges required to specify token id")
	case !r.ID.Empty() && ch.call.Namespace.ID != RootNamespace:
		return api.Errorf(api.Invalid, "token IDs can only be manually specified in the root namespace")
	}
	return nil
}

// token is the child without its lifetime.
func (ch *child) token() (*Token, error) {
	typ, err := ch.kind()
	if err != nil {
		return nil, err
	}
	t := &Token{
		NamespaceID:     ch.call.Namespace.ID,
		Type:            typ,
		NoDefaultPolicy: ch.req.NoDefaultPolicy,
		Path:            ch.call.Mount.Path + strings.TrimSuffix(ch.call.Path, "/"),
		DisplayName:     displayName(ch.req.DisplayName),
		Meta:            ch.req.Meta,
		CreationTime:    ch.call.Now,
		Renewable:       ch.req.Renewable && typ == Service,
		NumUses:         ch.req.NumUses,
	}
	if t.Policies, err = ch.policies(); err != nil {
		return nil, err
	}
	if ch.role != nil {
		ch.role.shape(t)
	}
	ch.setParent(t)
	if !ch.parent.Root() { // who is root needs no token to look newer
		t.First = ch.parent.Begun()
	}
	if err := ch.setEntity(t); err != nil {
		return nil, err
	}
	return t, ch.bind(t)
}

// bind gives the child its addresses: the caller's, and of those only what the
// role has too. An orphan is no way out of them either.
func (ch *child) bind(t *Token) error {
	t.BoundCIDRs = ch.parent.BoundCIDRs
	if ch.role == nil || len(ch.role.BoundCIDRs) == 0 {
		return nil
	}
	if len(t.BoundCIDRs) == 0 {
		t.BoundCIDRs = ch.role.BoundCIDRs
		return nil
	}
	both, err := common(ch.parent.BoundCIDRs, ch.role.BoundCIDRs)
	if err != nil {
		return err
	}
	if len(both) == 0 {
		return api.Errorf(api.Invalid, "the calling token is bound to addresses of which the role has none")
	}
	t.BoundCIDRs = both
	return nil
}

// common gives the ranges of addresses that lie in both lists.
func common(a, b []string) ([]string, error) {
	var out []string
	for _, x := range a {
		for _, y := range b {
			narrow, err := narrower(x, y)
			if err != nil {
				return nil, err
			}
			if narrow != "" && !slices.Contains(out, narrow) {
				out = append(out, narrow)
			}
		}
	}
	return out, nil
}

// narrower is the range within the other, or "" when they are apart.
func narrower(a, b string) (string, error) {
	x, err := parseCIDR(a)
	if err != nil {
		return "", fmt.Errorf("token: a bad address range: %w", err)
	}
	y, err := parseCIDR(b)
	if err != nil {
		return "", fmt.Errorf("token: a bad address range: %w", err)
	}
	switch {
	case !x.Overlaps(y):
		return "", nil
	case x.Bits() < y.Bits():
		return b, nil
	}
	return a, nil
}

var notInName = regexp.MustCompile(`[^a-zA-Z0-9-]`)

func displayName(asked string) string {
	if asked == "" {
		return "token"
	}
	return strings.TrimSuffix(notInName.ReplaceAllString("token-"+asked, "-"), "-")
}

// kind is the child's type.
func (ch *child) kind() (string, error) {
	typ := ch.req.Type
	if ch.role != nil {
		typ = ch.role.kind(typ)
	}
	switch typ {
	case "", Service:
		return Service, nil
	case Batch:
		return Batch, ch.checkBatch()
	}
	return "", api.Errorf(api.Invalid, "invalid 'token_type' value")
}

func (ch *child) checkBatch() error {
	bad := ""
	switch {
	case ch.req.ExplicitMaxTTL != 0:
		bad = "explicit_max_ttl"
	case ch.req.NumUses != 0:
		bad = "num_uses"
	case ch.req.Period != 0:
		bad = "period"
	case !ch.req.ID.Empty():
		bad = "id"
	default:
		return ch.role.forBatch()
	}
	return api.Errorf(api.Invalid, "batch tokens cannot have %q set", bad)
}

// policies are the child's. Only a root token of the same namespace can hand
// the root policy on, whatever led to it.
func (ch *child) policies() ([]string, error) {
	asked, err := canonical(ch.req.Policies)
	if err != nil {
		return nil, err
	}
	names, err := policyRequest{
		asked: asked, given: len(ch.req.Policies) > 0, parent: ch.parent.Policies, noDefault: ch.req.NoDefaultPolicy,
		sudo: ch.sudo, foreign: ch.foreign(), role: ch.role,
	}.resolve()
	if err != nil {
		return nil, err
	}
	if len(names) != 1 || names[0] != rootPolicy {
		return names, assignable(names)
	}
	switch {
	case ch.foreign():
		return nil, api.Errorf(api.Invalid, "root tokens may not be created from a parent namespace")
	case !ch.parent.Root():
		return nil, api.Errorf(api.Invalid, "root tokens may not be created without parent token being root")
	}
	return names, nil
}

// setParent ties the child to its parent, with what it inherits, or leaves it
// an orphan.
func (ch *child) setParent(t *Token) {
	orphan := ch.orphan || ch.req.NoParent
	if ch.role != nil {
		orphan = ch.role.Orphan
	}
	if orphan {
		return
	}
	t.ParentID, t.ParentNamespace = ch.parent.ID, ch.parent.NamespaceID
	if t.EntityID = ch.parent.EntityID; t.EntityID != "" && ch.parent.EntityNamespace() != t.NamespaceID {
		t.EntityNS = ch.parent.EntityNamespace()
	}
	t.EntityEpoch = ch.parent.EntityEpoch
	t.MountID, t.MountNamespace = ch.parent.MountID, ch.parent.MountNamespace
	t.Since = ch.parent.LoggedIn()
}

// setEntity puts the entity behind the child whose alias is asked for.
func (ch *child) setEntity(t *Token) (err error) {
	if ch.req.EntityAlias == "" {
		return nil
	}
	t.EntityNS, t.Since = "", time.Time{} // which has not logged in
	t.EntityID, t.EntityEpoch, err = ch.store.Entity(ch.call, strings.ToLower(ch.req.EntityAlias))
	return err
}

// setTTL resolves the child's lifetime; only a root token may have none. It
// returns the period in force.
func (ch *child) setTTL(t *Token) (time.Duration, error) {
	asked := ch.req.TTL.Std()
	t.Period, t.ExplicitMaxTTL = ch.req.Period.Std(), ch.req.ExplicitMaxTTL.Std()
	period, explicit := t.Period, t.ExplicitMaxTTL
	if ch.role != nil && t.Type == Service {
		period, explicit = ch.role.merge(t, ch.call.Warn)
	}
	if t.Root() && period == 0 && asked == 0 {
		asked = explicit
	}
	if t.Root() && period == 0 && asked == 0 {
		if !ch.parent.ExpireTime.IsZero() {
			return 0, api.Errorf(api.Invalid, "expiring root tokens cannot create non-expiring root tokens")
		}
		t.Renewable = false
		return 0, nil
	}
	ttl, err := terms{
		Limits: ch.store.limits(ch.call.Mount), usual: asked, period: period, explicit: explicit,
		issued: t.CreationTime, nowIs: ch.call.Now, warn: ch.call.Warn,
	}.resolve()
	if err != nil {
		return 0, err
	}
	t.live(ttl, ch.call.Now)
	t.CreationTTL = ttl
	return period, nil
}

// warnOfMissing tells the caller of policies that do not exist (yet).
func (s *Store) warnOfMissing(c *api.Call, names []string) error {
	if s.HasPolicy == nil {
		return nil
	}
	for _, n := range names {
		if n == rootPolicy || n == defaultPolicy {
			continue
		}
		ok, err := s.HasPolicy(c, c.Namespace.ID, n)
		if err != nil {
			return err
		}
		if !ok {
			c.Warn(fmt.Sprintf("Policy %q does not exist", n))
		}
	}
	return nil
}

// current reads a service token past the cache; nil when it is dead. It is for
// what the request itself may have changed, such as the uses left.
func (s *Store) current(c *api.Call, k rowKey) (*Token, error) {
	t, err := s.tokens.Get(c, k)
	if err != nil || t == nil || t.NumUses == 0 {
		return t, err
	}
	return loadToken(c, store.Store(s.Store), k)
}
