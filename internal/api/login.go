package api

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Alias is who an auth method says has logged in, by the name that is theirs in
// it. Identity has one entity behind all aliases of one person or machine.
type Alias struct {
	// Name is unique within the mount, and in the method's canonical spelling: two
	// spellings that the method lets in as one are one name.
	Name     string
	Metadata map[string]string // replaces what the alias had; nil: leaves it
}

// Session is a token of a login as its auth method sees it again, at a renewal.
type Session struct {
	Private   []byte // what Auth.Private was
	Metadata  map[string]string
	Policies  []string // the token's own, sorted
	Issued    time.Time
	Increment time.Duration // what is asked for; 0: as usual
}

// Renewer has a say in the renewal of a token that its login made: it looks again
// whether whoever logged in still may. It answers what it would answer at a login
// now; of that, TTL, MaxTTL and Period take effect, and where TokenPolicies are no
// longer the token's, the renewal is refused. The Call has the mount and its store;
// its Caller is who asks for the renewal.
type Renewer func(c *Call, s *Session) (*Auth, error)

// Attempts counts wrong credentials of accounts, for all nodes together.
type Attempts interface {
	// Attempt has check look at a credential of an account, unless too many wrong ones
	// have been shown lately: then it answers like a wrong one and check is not called. Of
	// any number of concurrent attempts no more are checked than are allowed.
	// It reports whether the credential was right.
	Attempt(c *Call, account string, check func() (bool, error)) (bool, error)
}

// Attempt has a credential of an account checked, and its failures counted: see
// Attempts. The account is in the method's canonical spelling, and need not exist: so
// that it is not told by the answer or its time whether it does, check takes
// as long when it does not.
func (c *Call) Attempt(account string, check func() (bool, error)) (bool, error) {
	if c.Attempts == nil {
		return check()
	}
	return c.Attempts.Attempt(c, account, check)
}

// DisplayName is what a token of a login through the call's mount is shown as: the
// mount's path and a name, such as userpass-ann.
func (c *Call) DisplayName(name string) string {
	mount := strings.TrimSuffix(strings.TrimPrefix(c.Mount.Path, "auth/"), "/")
	return strings.Trim(strings.ReplaceAll(mount, "/", "-")+"-"+name, "-")
}

// LoginRole is a request that logs in by a role: quotas can be of one.
type LoginRole interface {
	// LoginRole is the role's name; empty: none.
	LoginRole() string
}

// TokenTerms are what a role or user of an auth method says of its tokens: the
// stored form of TokenFields.
type TokenTerms struct {
	Policies        []string      `json:"policies,omitempty"`
	TTL             time.Duration `json:"ttl,omitempty"`          // 0: the mount's
	MaxTTL          time.Duration `json:"max_ttl,omitempty"`      // 0: the mount's
	ExplicitMaxTTL  time.Duration `json:"explicit_max,omitempty"` // 0: none
	Period          time.Duration `json:"period,omitempty"`       // 0: not periodic
	BoundCIDRs      []string      `json:"cidrs,omitempty"`        // none: any address
	NumUses         int           `json:"uses,omitempty"`         // 0: any number
	NoDefaultPolicy bool          `json:"no_default,omitempty"`
	BindIP          bool          `json:"bind_ip,omitempty"` // a token is good at the address of its login alone
	Type            string        `json:"type,omitempty"`    // default-service, default-batch, service, batch; empty: default
}

// TokenFields are the parameters that every role and user of an auth method has
// for its tokens; what is absent stays as it was. A request embeds them.
type TokenFields struct {
	TokenTTL             *Duration `json:"token_ttl"`                    // First lifetime of tokens; 0: the mount's.
	TokenMaxTTL          *Duration `json:"token_max_ttl"`                // Longest lifetime, renewals included; 0: the mount's.
	TokenPolicies        *[]string `json:"token_policies" audit:"clear"` // Policies of tokens.
	TokenBoundCIDRs      *[]string `json:"token_bound_cidrs"`            // Addresses that logins may come from and tokens may be used from.
	TokenExplicitMaxTTL  *Duration `json:"token_explicit_max_ttl"`       // Bound on the whole lifetime, of periodic tokens too.
	TokenNoDefaultPolicy *bool     `json:"token_no_default_policy"`      // Do not attach the default policy.
	TokenNumUses         *int      `json:"token_num_uses"`               // How many requests a token can make; 0: any number.
	TokenPeriod          *Duration `json:"token_period"`                 // Lifetime after each renewal, without a maximum.
	TokenStrictlyBindIP  *bool     `json:"token_strictly_bind_ip"`       // Tokens may be used from the address of their login alone.
	TokenType            *string   `json:"token_type"`                   // default, default-service, default-batch, service or batch.
}

// TokenAnswer is TokenTerms as they are read. An answer embeds it.
type TokenAnswer struct {
	TokenBoundCIDRs      []string `json:"token_bound_cidrs"`
	TokenExplicitMaxTTL  Duration `json:"token_explicit_max_ttl"`
	TokenMaxTTL          Duration `json:"token_max_ttl"`
	TokenNoDefaultPolicy bool     `json:"token_no_default_policy"`
	TokenNumUses         int      `json:"token_num_uses"`
	TokenPeriod          Duration `json:"token_period"`
	TokenPolicies        []string `json:"token_policies" audit:"clear"`
	TokenStrictlyBindIP  bool     `json:"token_strictly_bind_ip"`
	TokenTTL             Duration `json:"token_ttl"`
	TokenType            string   `json:"token_type"`
}

func take[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

// Apply changes the terms as asked. It returns Invalid, naming the field, for what
// no token could have.
func (f *TokenFields) Apply(t *TokenTerms) error {
	take(&t.Policies, f.TokenPolicies)
	take(&t.BoundCIDRs, f.TokenBoundCIDRs)
	take(&t.NoDefaultPolicy, f.TokenNoDefaultPolicy)
	take(&t.NumUses, f.TokenNumUses)
	take(&t.BindIP, f.TokenStrictlyBindIP)
	take(&t.Type, f.TokenType)
	take((*Duration)(&t.TTL), f.TokenTTL)
	take((*Duration)(&t.MaxTTL), f.TokenMaxTTL)
	take((*Duration)(&t.ExplicitMaxTTL), f.TokenExplicitMaxTTL)
	take((*Duration)(&t.Period), f.TokenPeriod)
	return t.check()
}

func (t *TokenTerms) check() error {
	switch {
	case t.TTL < 0, t.MaxTTL < 0, t.ExplicitMaxTTL < 0, t.Period < 0, t.NumUses < 0:
		return Errorf(Invalid, "token_ttl, token_max_ttl, token_explicit_max_ttl, token_period and token_num_uses cannot be negative")
	case t.TTL > 0 && t.MaxTTL > 0 && t.TTL > t.MaxTTL:
		return Errorf(Invalid, "token_ttl: cannot be longer than token_max_ttl")
	case !slices.Contains([]string{"", "default", "default-service", "default-batch", "service", "batch"}, t.Type):
		return Errorf(Invalid, "token_type: must be default, default-service, default-batch, service or batch")
	case t.Type == "batch" && (t.Period > 0 || t.NumUses > 0 || t.ExplicitMaxTTL > 0):
		return Errorf(Invalid, "token_type: batch tokens cannot have token_period, token_num_uses or token_explicit_max_ttl")
	}
	if slices.ContainsFunc(t.Policies, isRoot) {
		return Errorf(Invalid, "token_policies: the root policy cannot be attached by a login")
	}
	for _, p := range t.BoundCIDRs {
		if !IsCIDR(p) {
			return Errorf(Invalid, "token_bound_cidrs: not an address or a range of addresses")
		}
	}
	return nil
}

// isRoot reports whether a policy's name is a spelling of the root policy's.
func isRoot(name string) bool { return strings.EqualFold(strings.TrimSpace(name), "root") }

// IsCIDR reports whether a text is an address or a range of addresses.
func IsCIDR(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(text)
	return err == nil
}

// Within reports whether an address lies in one of some addresses and ranges; with
// none of them it does. What is neither holds nothing.
func Within(addr netip.Addr, cidrs []string) bool {
	addr = addr.Unmap()
	return len(cidrs) == 0 || slices.ContainsFunc(cidrs, func(text string) bool {
		if a, err := netip.ParseAddr(text); err == nil {
			return a.Unmap().WithZone("") == addr
		}
		p, err := netip.ParsePrefix(text)
		return err == nil && p.Masked().Contains(addr)
	})
}

// Answer is the terms as they are read.
func (t *TokenTerms) Answer() TokenAnswer {
	kind := t.Type
	if kind == "" {
		kind = "default"
	}
	return TokenAnswer{
		TokenBoundCIDRs: full(t.BoundCIDRs), TokenExplicitMaxTTL: Duration(t.ExplicitMaxTTL), TokenMaxTTL: Duration(t.MaxTTL),
		TokenNoDefaultPolicy: t.NoDefaultPolicy, TokenNumUses: t.NumUses, TokenPeriod: Duration(t.Period),
		TokenPolicies: full(t.Policies), TokenStrictlyBindIP: t.BindIP, TokenTTL: Duration(t.TTL), TokenType: kind,
	}
}

func full(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// Auth is a login's answer by the terms; the method adds who it is.
func (t *TokenTerms) Auth() *Auth {
	return &Auth{TokenPolicies: slices.Clone(t.Policies), TTL: t.TTL, MaxTTL: t.MaxTTL, ExplicitMaxTTL: t.ExplicitMaxTTL, Period: t.Period,
		BoundCIDRs: t.BoundCIDRs, NumUses: t.NumUses, NoDefaultPolicy: t.NoDefaultPolicy, BindIP: t.BindIP, TokenType: t.Type, Renewable: true}
}
