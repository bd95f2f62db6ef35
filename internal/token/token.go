// Package token owns tokens: what a caller shows to be known. It issues them,
// looks them up, counts their uses, renews them and revokes them with all that
// came of them.
//
// # What a token looks like
//
// A service token is srs_, 43 base62 digits of 256 random bits and a CRC32 in 6
// base62 digits over all before it; a batch token is srb_, base64url and the same
// checksum. Outside the root namespace a dot and the namespace's identifier
// follow. Secret scanners can recognise both, and leave out what has a wrong
// checksum:
//
//	\bsr(s_[0-9A-Za-z]{49}|b_[0-9A-Za-z_-]{46,})(\.[0-9A-Za-z_-]{1,64})?
//
// The operator may name a root namespace's token otherwise (a development
// server's root token, or the id parameter of a create by a caller with sudo).
// A text that is none of these is refused without asking the store.
//
// # What is stored
//
// The store holds no token, only its keyed hash, so that a stolen store cannot
// be used to try candidates; but the text of a token that is handed out again, where the
// role of a login says so. In namespace N, on the whole encrypted store:
//
//	N/token/id/<hash>                  the token: its row, removed when it dies
//	N/token/accessor/<accessor hash>   the accessor and its token's hash
//	N/token/child/<parent hash>/<N2>/<hash>  a child, in namespace N2, of a parent in N
//	N/token/role/<name>                a token role
//	N/token/reuse/<hash>               the text of a token that a login which is repeated is answered with
//	N/due/<time>/token/<hash>          when it expires (package schedule)
//	N/due/<time>/token-revoke/<hash>   a revocation that is under way
//
// A token is dead from the commit that removes its row. That commit also
// records what remains to be done, so that a revocation which is cut short at any
// point is finished by any node.
//
// # Time
//
// A token is alive before its expiry and dead at it. No renewal moves the
// expiry beyond the moment of issue plus the maximum that applied.
package token

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Names of policies that tokens treat specially.
const (
	rootPolicy    = "root"    // every right; attached by a root caller only
	defaultPolicy = "default" // attached unless the request says otherwise
)

// The types of token, as the wire spells them.
const (
	Service = "service"
	Batch   = "batch"
)

// exhausted is NumUses of a token whose last use is under way.
const exhausted = -1

// Token is what is known of a live token. It is shared: it must not be modified.
// It holds no secret.
type Token struct {
	ID          string `json:"-"` // storage identity: the keyed hash of the token's text
	NamespaceID string `json:"-"`
	Accessor    string `json:"accessor,omitempty"` // empty for a batch token
	Type        string `json:"type"`               // Service or Batch

	Policies        []string          `json:"policies,omitempty"` // canonical and sorted; without those of the entity
	NoDefaultPolicy bool              `json:"no_default,omitempty"`
	Path            string            `json:"path"` // where it was made, such as auth/token/create
	Role            string            `json:"role,omitempty"`
	DisplayName     string            `json:"name,omitempty"`
	Meta            map[string]string `json:"meta,omitempty"`
	EntityID        string            `json:"entity,omitempty"`
	EntityNS        string            `json:"entity_ns,omitempty"` // namespace of EntityID; empty: the token's
	EntityEpoch     int               `json:"epoch,omitempty"`     // the entity's count of revocations when this one, or the first that made it, was made
	BoundCIDRs      []string          `json:"cidrs,omitempty"`     // addresses it may be used from; none: any

	ParentID        string `json:"parent,omitempty"` // empty for an orphan
	ParentNamespace string `json:"parent_ns,omitempty"`

	CreationTime   time.Time     `json:"created"`
	CreationTTL    time.Duration `json:"creation_ttl,omitempty"` // 0: never expires
	TTL            time.Duration `json:"ttl,omitempty"`          // of the last renewal
	ExpireTime     time.Time     `json:"expires,omitzero"`       // zero: never
	LastRenewal    time.Time     `json:"renewed,omitzero"`
	Renewable      bool          `json:"renewable,omitempty"`
	Period         time.Duration `json:"period,omitempty"`       // 0: not periodic by its own request
	ExplicitMaxTTL time.Duration `json:"explicit_max,omitempty"` // 0: none by its own request
	MaxTTL         time.Duration `json:"max,omitempty"`          // that a login's role set; 0: the mount's

	// MountID is of the auth method whose login it comes from, itself or through its
	// parents: with that mount the token goes. Empty: of none.
	MountID        string `json:"mount,omitempty"`
	MountNamespace string `json:"mount_ns,omitempty"` // of MountID
	Login          bool   `json:"login,omitempty"`    // it is a login's own
	Alias          string `json:"alias,omitempty"`    // of a login's own: the name by which its method knows who it is; empty also in rows from before it was kept
	Private        []byte `json:"private,omitempty"`  // see api.Auth

	LoginRole string    `json:"login_role,omitempty"` // that the login was by; empty: none
	Since     time.Time `json:"since,omitzero"`       // of a child: when the login was that it comes from; zero: it comes from none
	First     time.Time `json:"first,omitzero"`       // of one that another made, which was not root's: what that one's Begun was
	Reuse     string    `json:"reuse,omitempty"`      // of the row that has its text; empty: none has
	Quota     string    `json:"quota,omitempty"`      // that counts it: see Counter

	NumUses int       `json:"uses,omitempty"` // left; 0: no limit; negative: the last use is under way
	Due     time.Time `json:"due,omitzero"`   // of its row in the schedule; zero: none

	cidrs []netip.Prefix
}

// LoggedIn is when the login was that the token comes from, itself or through its parents: a token that was
// made since proves no newer one. Zero: it comes from none.
func (t *Token) LoggedIn() time.Time {
	if t.Login {
		return t.CreationTime
	}
	return t.Since
}

// Begun is when the token was issued or, if another has made it, when that one was: nobody is newer by a token that they make
// of their own. What a root token makes begins by itself.
func (t *Token) Begun() time.Time {
	if t.First.IsZero() {
		return t.CreationTime
	}
	return t.First
}

// EntityNamespace is the identifier of the namespace that the token's entity is of.
func (t *Token) EntityNamespace() string {
	if t.EntityNS == "" {
		return t.NamespaceID
	}
	return t.EntityNS
}

// Orphan reports whether the token has no parent.
func (t *Token) Orphan() bool { return t.ParentID == "" }

// Root reports whether the token holds the root policy.
func (t *Token) Root() bool { return slices.Contains(t.Policies, rootPolicy) }

// Alive reports whether the token may be used at a moment.
func (t *Token) Alive(now time.Time) bool {
	return t.NumUses >= 0 && !t.expired(now)
}

func (t *Token) expired(now time.Time) bool {
	return !t.ExpireTime.IsZero() && !now.Before(t.ExpireTime)
}

// AllowedFrom reports whether the token may be used from an address.
func (t *Token) AllowedFrom(addr netip.Addr) bool {
	if len(t.cidrs) == 0 {
		return true
	}
	addr = addr.Unmap()
	return slices.ContainsFunc(t.cidrs, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ttlLeft is how long the token lives from now on; 0 when it never expires.
func (t *Token) ttlLeft(now time.Time) time.Duration {
	if t.ExpireTime.IsZero() {
		return 0
	}
	return max(t.ExpireTime.Sub(now), 0)
}

// ErrBatch says that a batch token's content was not made by SealBatch for that
// namespace, or has been changed.
var ErrBatch = errors.New("token: not a batch token of this namespace")

// Keys does the cryptography, with keys that belong to one namespace and one
// purpose each.
type Keys interface {
	// TokenHash is the keyed hash of a token's or accessor's text: 32 bytes in hex
	// or base62. It is never the empty text.
	TokenHash(ctx context.Context, nsID, text string) (string, error)
	// SealBatch encrypts and authenticates a batch token's content.
	SealBatch(ctx context.Context, nsID string, plaintext []byte) ([]byte, error)
	// OpenBatch undoes SealBatch. It returns ErrBatch for anything else.
	OpenBatch(ctx context.Context, nsID string, blob []byte) ([]byte, error)
}

// Namespaces knows the namespaces.
type Namespaces interface {
	// Path is a namespace's path with a trailing slash, empty for the root
	// namespace; false when there is none with that identifier.
	Path(ctx context.Context, nsID string) (string, bool, error)
}

// Limits are the lifetimes that a mount gives to tokens.
type Limits struct {
	Default time.Duration // when the request asks for none
	Max     time.Duration // from issue, renewals included
}

// Config is what a Store stands on. Fields marked optional may be nil or zero.
type Config struct {
	Store      store.Store  // the whole encrypted store
	Cache      *store.Cache // follows Store
	Keys       Keys
	Namespaces Namespaces
	Now        func() time.Time
	System     Limits // of the server; zero fields: 768 hours
	CacheSize  int    // tokens kept decoded; 0: 100,000

	// Below are the namespaces below one whose rows can be read; optional: none.
	Below func(ctx context.Context, nsID string) ([]string, error)

	// Mount is the limits of the mount that made a token, for renewals; optional: System.
	Mount func(ctx context.Context, t *Token) (Limits, error)
	// Renewal is what the auth method says to the renewal of a token that its login
	// made; optional: nothing.
	Renewal func(c *api.Call, t *Token, increment time.Duration) (*api.Auth, error)
	// Entity is the entity of the call's namespace that a name of the mount of tokens is an
	// alias of, made if there is none, and its count of revocations; optional: no token is made for one.
	Entity func(c *api.Call, alias string) (id string, epoch int, err error)
	// Lives is told, before a token of an entity is made and after it is renewed, until when
	// the token lives; optional.
	Lives func(ctx context.Context, t *Token) error
	// Nobodys reports whether the entity of a token is no more, or has had all tokens revoked since; optional: none is.
	Nobodys func(ctx context.Context, t *Token) (bool, error)
	// IdentityPolicies are the names, beside the token's own, that its entity and the entity's
	// groups give it in its namespace; optional: none.
	IdentityPolicies func(ctx context.Context, t *Token) ([]string, error)
	// HasPolicy reports whether a policy exists, for warnings; optional.
	HasPolicy func(ctx context.Context, nsID, name string) (bool, error)
	// Counter counts tokens; optional: nobody does.
	Counter Counter
	// Damaged is told of rows that are damaged and were passed over; optional.
	Damaged func(error)
	// OnRevoke is called, in order, for each service token after it is dead and
	// before its revocation is answered: to remove its cubbyhole and revoke its
	// leases. It is called again when it fails or the node dies.
	OnRevoke []func(ctx context.Context, nsID, tokenID string) error
}

// Store issues, finds and revokes tokens. It is safe for concurrent use.
type Store struct {
	Config
	tokens *store.Memo[rowKey, *Token]
}

// Defaults of a Config.
const (
	defaultSystemTTL = 768 * time.Hour
	defaultCacheSize = 100_000
)

// New is a token store. It reads nothing.
func New(c Config) *Store {
	if c.System.Default == 0 {
		c.System.Default = defaultSystemTTL
	}
	if c.System.Max == 0 {
		c.System.Max = defaultSystemTTL
	}
	if c.CacheSize == 0 {
		c.CacheSize = defaultCacheSize
	}
	return &Store{Config: c, tokens: store.NewMemo(c.Cache, c.CacheSize, loadToken)}
}

// limits are a mount's limits as a request carries them, or the server's.
func (s *Store) limits(m api.Mount) Limits {
	l := Limits{m.DefaultTTL, m.MaxTTL}
	if l.Default <= 0 {
		l.Default = s.System.Default
	}
	if l.Max <= 0 {
		l.Max = s.System.Max
	}
	return l
}
