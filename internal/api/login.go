package api

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
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
// longer the token's, the renewal is refused. With an Alias, which it has where it asks anew who
// that is, GroupAliases take effect too. The Call has the mount and its store;
// its Caller is who asks for the renewal.
type Renewer func(c *Call, s *Session) (*Auth, error)

// Attempts counts wrong credentials of accounts, for all nodes together.
type Attempts interface {
	// Attempt has check look at a credential of an account, and reports whether it was
	// right. Once too many wrong ones have been shown, it is false whatever is shown, and as a rule
	// check is not called. Of any number of concurrent attempts, on any nodes, no more have
	// an effect than are allowed: what is found beyond them is told to nobody. Where
	// check fails, nothing is counted.
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

// Passwords hashes and checks passwords, a bounded number at once on a node.
type Passwords interface {
	// Hash is a password's stored form. Its hashes are made to be slow.
	Hash(ctx context.Context, password Secret) (string, error)
	// Check reports whether a password is the one of a stored form, and whether that form
	// is older than what Hash makes now, so that it is best replaced. For the empty form, of
	// an account that does not exist, it takes as long and is false. It returns TooMany
	// when too many wait to be checked.
	Check(ctx context.Context, form string, password Secret) (right, old bool, err error)
	// Take is a form that was made elsewhere, to be stored; it returns Invalid unless it
	// can be checked.
	Take(form Secret) (string, error)
}

// DisplayName is what a token of a login through the call's mount is shown as: the
// mount's path and a name, such as userpass-ann.
func (c *Call) DisplayName(name string) string {
	mount := strings.TrimSuffix(strings.TrimPrefix(c.Mount.Path, "auth/"), "/")
	return strings.Trim(strings.ReplaceAll(mount, "/", "-")+"-"+name, "-")
}

// Unconfigured is the answer to whom an auth method cannot judge before somebody has said what it needs to know, which is
// written to a path of the mount.
func (c *Call) Unconfigured(path, message string) *Error {
	return &Error{Kind: Invalid, Message: message, Hint: "write its configuration to " + c.Mount.Path + path}
}

// LoginRole is a request that logs in by a role: quotas can be of one.
type LoginRole interface {
	// LoginRole is the name of the role that the login would be by, which there need not be;
	// empty: none, or it is not known yet. It is asked before anything that is shown has
	// been checked, and may read the mount's rows to find a role that is not named.
	LoginRole(c *Call) (string, error)
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
	Reuse           bool          `json:"reuse,omitempty"`   // a login that is repeated may be answered with the token that it has got before
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
	TokenReuse           *bool     `json:"token_reuse"`                  // Answer a login that is repeated with the token of the one before, while half of its time is left. Whoever revokes it ends it for all who hold it.
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
	TokenReuse           bool     `json:"token_reuse"`
}

// Set changes a setting when a request has sent it.
func Set[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

// Apply changes the terms as asked. It returns Invalid, naming the field, for what
// no token could have.
func (f *TokenFields) Apply(t *TokenTerms) error {
	if f.TokenPolicies != nil {
		names, err := policyNames("token_policies", *f.TokenPolicies)
		if err != nil {
			return err
		}
		t.Policies = names
	}
	Set(&t.BoundCIDRs, f.TokenBoundCIDRs)
	Set(&t.NoDefaultPolicy, f.TokenNoDefaultPolicy)
	Set(&t.NumUses, f.TokenNumUses)
	Set(&t.BindIP, f.TokenStrictlyBindIP)
	Set(&t.Type, f.TokenType)
	Set(&t.Reuse, f.TokenReuse)
	Set((*Duration)(&t.TTL), f.TokenTTL)
	Set((*Duration)(&t.MaxTTL), f.TokenMaxTTL)
	Set((*Duration)(&t.ExplicitMaxTTL), f.TokenExplicitMaxTTL)
	Set((*Duration)(&t.Period), f.TokenPeriod)
	return t.check()
}

func (t *TokenTerms) check() error {
	switch {
	case t.TTL < 0, t.MaxTTL < 0, t.ExplicitMaxTTL < 0, t.Period < 0, t.NumUses < 0:
		return Errorf(Invalid, "token_ttl, token_max_ttl, token_explicit_max_ttl, token_period and token_num_uses cannot be negative")
	case len(t.BoundCIDRs) > MaxListed:
		return Errorf(Invalid, "token_bound_cidrs: more than %d", MaxListed)
	case t.TTL > 0 && t.MaxTTL > 0 && t.TTL > t.MaxTTL:
		return Errorf(Invalid, "token_ttl: cannot be longer than token_max_ttl")
	case !slices.Contains([]string{"", "default", "default-service", "default-batch", "service", "batch"}, t.Type):
		return Errorf(Invalid, "token_type: must be default, default-service, default-batch, service or batch")
	case t.Type == "batch" && (t.Period > 0 || t.NumUses > 0 || t.ExplicitMaxTTL > 0):
		return Errorf(Invalid, "token_type: batch tokens cannot have token_period, token_num_uses or token_explicit_max_ttl")
	case t.Reuse && (t.NumUses > 0 || t.Type == "batch" || t.Type == "default-batch"):
		return Errorf(Invalid, "token_reuse: neither batch tokens nor tokens with token_num_uses are handed out again")
	}
	for _, p := range t.BoundCIDRs {
		if !IsCIDR(p) {
			return Errorf(Invalid, "token_bound_cidrs: not an address or a range of addresses")
		}
	}
	return nil
}

// MaxListed bounds the policies, and the addresses, that a role or user lists.
const MaxListed = 128

// policyNames gives the names of policies that a role attaches their one spelling,
// each once, in the order in which they were given: what a client wrote it reads back.
// It refuses the root policy, in any spelling.
func policyNames(field string, names []string) ([]string, error) {
	out := make([]string, 0, len(names))
	for _, n := range names {
		n = strings.TrimSpace(n)
		if n == "" {
			continue
		}
		c, err := canonicalName(n)
		switch {
		case err != nil || len(n) > maxPolicyName:
			return nil, Errorf(Invalid, "%s: a name is malformed", field)
		case looksLikeRoot(c):
			return nil, &Error{Kind: Invalid, Message: field + ": the root policy cannot be attached by an auth method", Hint: "name a policy that says what may be done"}
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
		if len(out) > MaxListed {
			return nil, Errorf(Invalid, "%s: more than %d", field, MaxListed)
		}
	}
	return out, nil
}

const maxPolicyName = 512 // in bytes

// looksLikeRoot reports whether somebody could take a name for root: with inner
// space, or in full-width letters.
func looksLikeRoot(name string) bool {
	return strings.EqualFold("root", strings.Map(func(r rune) rune {
		switch {
		case r >= '\uff01' && r <= '\uff5e':
			return r - 0xfee0
		case unicode.IsSpace(r) || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, name))
}

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
		TokenBoundCIDRs: Full(t.BoundCIDRs), TokenExplicitMaxTTL: Duration(t.ExplicitMaxTTL), TokenMaxTTL: Duration(t.MaxTTL),
		TokenNoDefaultPolicy: t.NoDefaultPolicy, TokenNumUses: t.NumUses, TokenPeriod: Duration(t.Period),
		TokenPolicies: Full(t.Policies), TokenStrictlyBindIP: t.BindIP, TokenTTL: Duration(t.TTL), TokenType: kind, TokenReuse: t.Reuse,
	}
}

// Full is a list as it is answered: one that is empty is [], and not null.
func Full[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Auth is a login's answer by the terms; the method adds who it is.
func (t *TokenTerms) Auth() *Auth {
	return &Auth{TokenPolicies: slices.Clone(t.Policies), TTL: t.TTL, MaxTTL: t.MaxTTL, ExplicitMaxTTL: t.ExplicitMaxTTL, Period: t.Period,
		BoundCIDRs: t.BoundCIDRs, NumUses: t.NumUses, NoDefaultPolicy: t.NoDefaultPolicy, BindIP: t.BindIP, TokenType: t.Type, Reuse: t.Reuse, Renewable: true}
}

// Entrance is how somebody came in whose login has waited for a second factor: all of
// it that is not in its Auth.
type Entrance struct {
	MountID  string        // of the auth method
	Accessor string        // of the auth method
	Type     string        // of the auth method
	Path     string        // of the login
	Role     string        // that it was by; empty: none
	EntityID string        // who it is
	Epoch    int           // the entity's count of revocations by then
	At       time.Time     // when it was
	WrapTTL  time.Duration // of the wrapped answer that was asked for; 0: not wrapped
	WrapJWT  bool          // see Call
}

// MFARequirement is what the client of a login is told that waits for second factors:
// of each constraint, one method has to be met.
type MFARequirement struct {
	RequestID   string                   `json:"mfa_request_id"`
	Constraints map[string]MFAConstraint `json:"mfa_constraints"`
}

// MFAConstraint is one enforcement's.
type MFAConstraint struct {
	Any []MFAMethod `json:"any"`
}

// MFAMethod is a way to meet a constraint.
type MFAMethod struct {
	Type         string `json:"type"`
	ID           string `json:"id"`
	UsesPasscode bool   `json:"uses_passcode"`
	Name         string `json:"name,omitempty"`
}
