// Package audit owns the record of who asked for what: the entries, their
// redaction, the sinks they are written to and the broker between.
//
// A request is written down before it is acted on and its answer before it is
// sent. An entry's bytes are built once per way of hashing, never by
// reflection: what is shown of a body follows from the declared type of the
// endpoint (api.Shape), and whatever no type speaks for is hashed. A hash is
// hmac-sha256:<hex> under the sink's own key, so that one value can be followed
// through one log but not from log to log.
//
// Entries have the form that readers of Vault's audit log expect: one JSON
// object a line, in its order of members.
package audit

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// Entry is one request on its way through the log: first LogRequest, then
// LogResponse writes it. Between the two, Auth and Request must not change. An
// Entry comes from Broker.Entry and goes back with Release; it is used by one
// goroutine.
type Entry struct {
	Auth    Auth
	Request Request

	broker *Broker
	branch *Branch  // that it is written down for; nil: the root namespace
	also   []*Entry // for the devices of namespaces below, the outermost first
	set    *set
	parts  []part   // for each of set.formats
	lines  [][]byte // for each of set.formats: the line to write
}

// part is what the entries of a request and of its answer share.
type part struct {
	json []byte // {"auth":{...},"request":{...}
	auth int    // where auth ends
}

// Auth is who asks, as far as it is known. The zero Auth is a caller that was
// not identified.
type Auth struct {
	ClientToken      api.Secret
	Accessor         string // of the token
	DisplayName      string
	Policies         []string // all policies in force
	TokenPolicies    []string
	IdentityPolicies []string
	Metadata         map[string]string // of the token; shown as it is
	NumUses          int               // limit of the token; 0: none
	RemainingUses    int
	EntityID         string
	TokenType        string        // service or batch; empty is shown as default
	TTL              time.Duration // of the token, shown in whole seconds
	IssueTime        time.Time     // when the token was made

	Judged   bool    // the policies have been asked: the entry says Allowed
	Allowed  bool    // what they answered
	Granting []Grant // the policies that allowed it
}

// Grant is one policy that allowed the request.
type Grant struct {
	Name      string
	Namespace api.Namespace
	Type      string // empty is shown as acl
}

// Request is what was asked.
type Request struct {
	ID         string
	ClientID   string // who the request is counted for; may be empty
	Operation  string // as api.Op spells it, or create
	Mount      api.Mount
	Namespace  api.Namespace
	Path       string // canonical, mount included, relative to the namespace
	Remote     netip.AddrPort
	WrapTTL    time.Duration // shown in whole seconds; 0: not wrapped
	Headers    http.Header   // only those the configuration lists are shown
	CertSerial string        // of the client's certificate; may be empty

	// Data is the body as JSON; empty: none. Shape says what is shown of it; nil
	// hashes every leaf. A body that did not decode is logged with a nil Shape,
	// since its values are not what its type says.
	Data  []byte
	Shape *api.Shape
}

// Response is what was answered.
type Response struct {
	Data     []byte     // JSON; empty: none
	Shape    *api.Shape // of Data; nil hashes every leaf
	Raw      *api.Raw   // instead of Data, where the answer has no envelope
	Auth     *api.Auth  // of a login or of a token's creation; nil: none
	LeaseID  string
	Warnings []string // shown as they are
	Redirect string
	Wrap     *api.WrapInfo // where a wrapped answer went; nil: not wrapped
	Err      error         // only the text of an *api.Error is shown
}

// maxKept is the largest buffer that an entry keeps for the next request, in bytes.
const maxKept = 64 << 10

// Release gives the entry back; it must not be used afterwards.
func (e *Entry) Release() {
	for _, a := range e.also {
		b := a.branch
		a.branch = nil
		a.Release()
		b.tree.release(b)
	}
	clear(e.also)
	e.also = e.also[:0]
	e.Auth, e.Request, e.set = Auth{}, Request{}, nil
	for i := range e.parts {
		if cap(e.parts[i].json)+cap(e.lines[i]) > maxKept {
			e.parts[i], e.lines[i] = part{}, nil
		}
	}
	e.broker.entries.Put(e)
}
