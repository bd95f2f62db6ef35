// Package api is the vocabulary of an endpoint: what a handler is given, what
// it may answer, and how both are declared once.
//
// An engine or a domain package declares each endpoint in a static table:
//
//	var Routes = []api.Route[*Engine]{
//		api.Handle(api.Read, "keys/{name}", (*Engine).ReadKey),
//		api.Handle(api.Write, "keys/{name}", (*Engine).PutKey),
//	}
//
// with a typed request and a typed response. Everything else follows from that
// declaration: routing, lenient decoding, defaults, audit redaction by type,
// OpenAPI, path-help and the reference pages.
//
// Engines and auth methods import this package and nothing else of ours; they
// reach storage, time and the caller through the Call that each handler is
// handed. A handler keeps no state between calls: what it remembers is in
// Call.Store.
package api

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Op is what a request does to a path. Doors translate their verbs to it.
type Op uint8

// The operations. Write is a create or an update; which of the two the policy
// is asked for depends on whether the thing exists (see Upsert).
const (
	Read Op = iota + 1
	Write
	Patch
	Delete
	List
	Scan
)

var opNames = [...]string{Read: "read", Write: "update", Patch: "patch", Delete: "delete", List: "list", Scan: "scan"}

// String is the operation's name as the audit log and help spell it.
func (o Op) String() string {
	if int(o) < len(opNames) && opNames[o] != "" {
		return opNames[o]
	}
	return "unknown"
}

// Namespace names the tenant that a call runs in.
type Namespace struct {
	ID   string // stable identifier, part of every storage key; "root" for the root namespace
	Path string // canonical path with a trailing slash; empty for the root namespace
}

// Mount describes the mount that a call reached.
type Mount struct {
	ID         string            // stable identifier, part of every storage key
	Accessor   string            // public handle, such as kv_1a2b3c4d
	Path       string            // with a trailing slash, relative to the namespace, such as secret/ or auth/token/
	Type       string            // engine or auth method type
	Options    map[string]string // such as version=2; must not be modified
	DefaultTTL time.Duration     // effective default lease duration
	MaxTTL     time.Duration     // effective maximum lease duration
}

// Caller is who asks. A call on a public endpoint has the zero Caller.
type Caller struct {
	TokenID     string // storage identity of the token (a keyed hash, not the token)
	Token       Secret // the token as it was presented, to built-in mounts only; without TokenID, it has not been looked at
	Accessor    string // token accessor
	DisplayName string // such as token or userpass-alice
	EntityID    string // identity entity; empty when there is none

	EntityNamespace string   // identifier of the namespace that EntityID is of
	EntityEpoch     int      // the entity's count of revocations when the caller was let in
	Policies        []string // names of all policies in force
	Namespace       Namespace
	Root            bool // holds the root policy
	Sudo            bool // the policy grants sudo on this path
	Batch           bool // the token is a batch token
}

// Call is one authorised request on its way to a handler: the context it runs
// in, who asks, where it landed and what it may touch.
type Call struct {
	context.Context
	RequestID string
	Namespace Namespace
	Mount     Mount
	Caller    Caller
	Path      string              // canonical path, relative to the mount
	Store     store.Store         // the mount's own part of the encrypted store
	Now       time.Time           // when the request was accepted
	Remote    netip.Addr          // the client's address; invalid when not known
	WrapTTL   time.Duration       // of the wrapped answer that is asked for; 0: not wrapped
	WrapJWT   bool                // the wrapping token, if there is one, is asked for as a JWT
	Upkeep    Scheduler           // see Later
	Upload    io.Reader           // the request's body; nil unless the endpoint has the flag Upload
	Peer      []*x509.Certificate // the client's certificate and what it sent with it, of which the client holds the key; nil: none
	Basic     *Basic              // what the client names itself by beside the token; nil: nothing
	Attempts  Attempts            // see Attempt
	Passwords Passwords           // slow hashes; see there

	warnings []string
	after    []func() error
	sent     []func(ok bool)
}

// Basic are a name and a password as HTTP carries them (RFC 7617).
type Basic struct {
	User     string
	Password Secret
}

// Scheduler has upkeep done later, by whichever node is there then.
type Scheduler interface {
	// Schedule has the engine of a mount put its store in order (Engine.Upkeep) at
	// a moment or some minutes after it.
	Schedule(ctx context.Context, namespaceID, mountID string, at time.Time) error
}

// Later has the engine's Upkeep run on the call's mount at a moment or some
// minutes after it, whatever becomes of the call and of this node: that is
// certain once Later has returned. It is for what a handler leaves behind if it
// does not come to its end.
func (c *Call) Later(at time.Time) error {
	return c.Upkeep.Schedule(c, c.Namespace.ID, c.Mount.ID, at)
}

// Warn adds a line to the answer's warnings. It must carry no secret value.
func (c *Call) Warn(message string) { c.warnings = append(c.warnings, message) }

// Warnings are the lines that Warn has added.
func (c *Call) Warnings() []string { return c.warnings }

// TakeWarnings are the lines that Warn has added. The answer no longer has them.
func (c *Call) TakeWarnings() []string {
	out := c.warnings
	c.warnings = nil
	return out
}

// Keys is the answer to every List and Scan. An empty one is answered as not
// found, as clients expect.
type Keys struct {
	// Keys are names. They stand in every later request's path, so that hiding
	// them from the audit log would hide nothing.
	Keys []string `json:"keys" audit:"clear"`
	// Info holds what is known of each key, where the endpoint says so.
	Info map[string]any `json:"key_info,omitempty"`
	// Beside are directories of the mount, other than the listed one, in which the
	// keys name the same things: who may do something there may see a key where
	// lists are filtered.
	Beside []string `json:"-"`
}

// AppendJSON appends what encoding/json would write of it.
func (k *Keys) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"keys":`...)
	if k.Keys == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, '[')
		for i, key := range k.Keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendQuote(dst, key)
		}
		dst = append(dst, ']')
	}
	if len(k.Info) > 0 {
		info, err := json.Marshal(k.Info)
		if err != nil {
			info = []byte("null")
		}
		dst = append(append(dst, `,"key_info":`...), info...)
	}
	return append(dst, '}')
}

// Hint is a response that says for how long the client may keep the answer,
// though there is no lease to renew or revoke: the envelope carries the
// duration and no lease id.
type Hint interface{ LeaseDuration() time.Duration }

// Appender is a response that writes its own JSON, for answers whose cost
// matters. The bytes must say what encoding/json would say of it.
type Appender interface{ AppendJSON(dst []byte) []byte }

// Raw is an answer that is not wrapped in the dialect's envelope.
type Raw struct {
	ContentType string
	Body        []byte
	Status      int // HTTP status; 0 means 200
	// Keep is for how long everybody may keep the answer; 0: nobody may keep it.
	Keep time.Duration
	// Challenge is by what a client that was refused may name itself (RFC 9110, section 11.6.1);
	// empty: nothing is said.
	Challenge string
	// Policy is what a page that is HTML may do in a browser (Content-Security-Policy); empty: it
	// sends forms to the server, and nothing else.
	Policy string

	// Stream makes the answer while it is sent, in place of Body; nil: there is
	// nothing to make. It writes to w until it is done or the context ends, which
	// it also does when the client goes or may no longer ask. The handler has found
	// out beforehand all that can be refused: an error of Stream cuts the answer off.
	Stream func(ctx context.Context, w io.Writer) error `json:"-"`
}

// Auth is the answer to a login or to the creation or renewal of a token. A
// handler of an auth method leaves ClientToken empty and the gate issues the
// token; the token store fills it in itself.
type Auth struct {
	ClientToken      Secret
	Accessor         string
	Policies         []string // all policies in force
	TokenPolicies    []string
	IdentityPolicies []string
	Metadata         map[string]string
	TTL              time.Duration
	MaxTTL           time.Duration // maximum that the role sets; 0: the mount's
	ExplicitMaxTTL   time.Duration // bound on the whole life, of a periodic token too; 0: none
	Period           time.Duration
	Renewable        bool
	EntityID         string
	TokenType        string // service or batch; empty: as the mount says
	Orphan           bool
	NumUses          int    // 0: no limit
	DisplayName      string // of a login: the mount's path is put in front; empty: that alone
	NoDefaultPolicy  bool
	BoundCIDRs       []string
	BindIP           bool // of a login: the token is bound to the address that it came from
	Reuse            bool // of a login: a live token that is as its own would be may be its answer
	Reused           bool // it is the token of an earlier login

	// LoginRole is the name of the role that a login was by; empty: as its request says.
	LoginRole string `json:",omitempty"`

	// Of a login: who it is, and the names of the groups, in the method, that
	// they are in. Without an Alias there is no identity.
	Alias        *Alias
	GroupAliases []string
	// Private is what the method's Renew needs to know, at most a few KiB. It is
	// encrypted in the store, and neither answered nor logged. With a batch token it is lost.
	Private []byte

	// MFA is what a login waits for: it then has no token yet. Entrance is set in the
	// answer that ends the wait. Both are the gate's.
	MFA      *MFARequirement `json:",omitempty"`
	Entrance *Entrance       `json:"-"`
}

// Answer is a whole answer of any form, as it was made earlier and kept. Its
// fields are those of the form it had; the others are empty.
type Answer struct {
	Data          []byte // JSON
	Raw           *Raw
	Auth          *Auth
	LeaseID       string // empty: nothing is lent
	Renewable     bool   // of the lease
	LeaseDuration time.Duration
	MountType     string
	Warnings      []string
}

// WrapInfo is the answer that stands for one which is kept for the bearer of a
// single-use token.
type WrapInfo struct {
	Token           Secret
	Accessor        string // of Token
	TTL             time.Duration
	CreationTime    time.Time
	CreationPath    string // of the request whose answer is kept
	WrappedAccessor string // of the token or AppRole secret id that the answer holds; empty: it holds neither
}

// LoginPolicies are names that an auth method attaches; the root policy is
// never among them.
func (a *Auth) LoginPolicies() []string { return a.TokenPolicies }

// JSON is an answer without envelope, with a status code of its own.
func JSON(status int, v any) (*Raw, error) {
	b, err := json.Marshal(v)
	return &Raw{ContentType: "application/json", Body: append(b, '\n'), Status: status}, err
}

// After has fn run once the answer has been written down, before it is sent.
func (c *Call) After(fn func() error) { c.after = append(c.after, fn) }

// Finish runs what After was given. The gate calls it.
func (c *Call) Finish() error {
	var errs []error
	for _, fn := range c.after {
		errs = append(errs, fn())
	}
	c.after = nil
	return errors.Join(errs...)
}

// Sent has fn run at the very end: with true once the whole answer was handed to
// the connection, with false when it could not be, or was a failure. It is for what
// must not be done before its caller has what it is about.
func (c *Call) Sent(fn func(ok bool)) { c.sent = append(c.sent, fn) }

// TakeSent is what Sent was given. Who takes it runs it.
func (c *Call) TakeSent() []func(ok bool) {
	out := c.sent
	c.sent = nil
	return out
}
