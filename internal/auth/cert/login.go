package cert

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// Login is a login by the client certificate of the connection.
type Login struct {
	Name api.Name `json:"name"` // The entry to log in by; any that fits when not given.
}

// LoginRole is the entry that is named.
func (l *Login) LoginRole(*api.Call) (string, error) { return string(l.Name), nil }

// private is what a renewal looks at again.
type private struct {
	Entry string            `json:"entry"`
	Leaf  [sha256.Size]byte `json:"leaf"` // hash of the certificate
}

// refused is the one answer to a certificate that is not let in: whether there is such
// an entry, and what it demands, is not told. The cause is for the log, but that nobody may be asked about it.
func refused(cause error) *api.Error {
	if f := outbound.Forbidden(cause); f != nil {
		return f
	}
	return &api.Error{Kind: api.Invalid, Message: "no entry of this auth method lets the client certificate in", Err: cause}
}

// maxCandidates bounds the entries that a login looks at.
const maxCandidates = 1000

// login makes a token for who holds a client certificate that an entry trusts.
func (g engine) login(c *api.Call, q *Login) (*api.Auth, error) {
	s, err := show(c.Peer)
	if err != nil {
		return nil, err
	}
	names := []string{string(q.Name)}
	if q.Name == "" {
		if names, err = candidates(c, s); err != nil {
			return nil, err
		}
	}
	cause := errTrust
	d, end := newDesk(c, s)
	defer end()
	for _, name := range names {
		e, err := load(c, name)
		switch {
		case err != nil:
			return nil, err
		case e == nil:
			continue
		}
		if cause = d.judge(e); cause == nil {
			return admit(c, name, e, s.leaf)
		}
	}
	if errors.Is(cause, errInternal) {
		return nil, cause
	}
	return nil, refused(cause)
}

// show is what a client has shown.
func show(peer []*x509.Certificate) (*shown, error) {
	switch {
	case len(peer) == 0:
		return nil, &api.Error{Kind: api.Invalid, Message: "the client has shown no certificate",
			Hint: "connect with TLS and a client certificate, to a listener that asks for one, with nothing between that ends TLS"}
	case len(peer) > maxShown:
		return nil, api.Errorf(api.Invalid, "the client has shown more than %d certificates", maxShown)
	}
	s := &shown{leaf: peer[0], others: x509.NewCertPool(), all: peer}
	for _, cert := range peer[1:] {
		s.others.AddCert(cert)
	}
	return s, nil
}

// candidates are the entries that trust something of which a client's certificate may
// have come, in the order of their names.
func candidates(c *api.Call, s *shown) ([]string, error) {
	var names []string
	for _, mark := range s.marks() {
		more, err := store.Children(c, c.Store, trustPrefix+mark+"/", "", maxCandidates+1)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxCandidates {
		return nil, &api.Error{Kind: api.Invalid, Message: "name: more entries trust the issuer than are tried", Hint: "say which entry to log in by"}
	}
	return names, nil
}

// verdict is what is known of the chains to the authorities of one text.
type verdict struct {
	chains [][]*x509.Certificate
	err    error
}

// link is a certificate and its issuer, which may be none.
type link struct{ cert, issuer [sha256.Size]byte }

func linkOf(cert, issuer *x509.Certificate) link {
	l := link{cert: sha256.Sum256(cert.Raw)}
	if issuer != nil {
		l.issuer = sha256.Sum256(issuer.Raw)
	}
	return l
}

// question is what responders are asked about a certificate: whom, and how.
type question struct {
	link
	terms string
}

// desk judges one login. What it has found out once it does not ask again: many entries trust the same authority, and
// whom one refuses is judged by the next.
type desk struct {
	call   *api.Call
	shown  *shown
	chains map[string]verdict // by what is trusted
	listed map[link]error     // what revocation lists say
	asked  map[question]error // what responders say
	lists  int                // that were looked at
	asking context.Context    // in which lists are fetched anew
}

// newDesk is a desk for a login, until end is called.
func newDesk(c *api.Call, s *shown) (d *desk, end func()) {
	asking, end := context.WithTimeout(c, patience)
	return &desk{call: c, shown: s, chains: map[string]verdict{}, listed: map[link]error{}, asked: map[question]error{}, asking: asking}, end
}

// errInternal marks failures that are not the client's: they end the login as they
// are.
var errInternal = errors.New("cert: internal")

// judge is nil when an entry lets the client in, else why not.
func (d *desk) judge(e *entry) error {
	if !e.Rules.met(d.shown.leaf) { // costs nothing, where a signature does
		return errRules
	}
	v, known := d.chains[e.Certificate]
	if !known {
		a, err := parseAnchors(e.Certificate)
		if err != nil {
			return fmt.Errorf("%w: %w: the certificates of an entry cannot be read", errInternal, store.ErrCorrupt)
		}
		v.chains, v.err = a.chains(d.shown, d.call.Now)
		d.chains[e.Certificate] = v
	}
	err := v.err
	for _, chain := range v.chains {
		if err = d.standing(e, chain); err == nil || errors.Is(err, errInternal) {
			return err
		}
	}
	if err == nil { // no chain, and no reason
		err = errTrust
	}
	return err
}

// standing is nil when nothing in a chain has been revoked.
func (d *desk) standing(e *entry, chain []*x509.Certificate) error {
	for i, cert := range chain {
		var issuer *x509.Certificate
		if i+1 < len(chain) {
			issuer = chain[i+1]
		} else if i > 0 {
			break // what is trusted is trusted by who wrote the entry
		}
		on := linkOf(cert, issuer)
		err, known := d.listed[on]
		if !known {
			err = d.checkCRLs(cert, issuer)
			d.listed[on] = err
		}
		if err != nil {
			return err
		}
	}
	var issuer *x509.Certificate
	if len(chain) > 1 {
		issuer = chain[1]
	}
	return d.ask(&e.OCSP, chain[0], issuer)
}

// ask is what the responders of an entry say of a certificate.
func (d *desk) ask(o *ocspTerms, leaf, issuer *x509.Certificate) error {
	if !o.Enabled {
		return nil
	}
	terms, err := json.Marshal(o)
	if err != nil {
		return internal(err)
	}
	q := question{linkOf(leaf, issuer), string(terms)}
	said, known := d.asked[q]
	switch {
	case known:
	case len(d.asked) >= maxAsked:
		return fmt.Errorf("%w: more entries trust its issuer than responders are asked for; the login can say which is meant", errNoStatus)
	default:
		said = o.check(d.call, leaf, issuer)
		d.asked[q] = said
	}
	return said
}

// admit is the answer to a login that an entry lets in.
func admit(c *api.Call, name string, e *entry, leaf *x509.Certificate) (*api.Auth, error) {
	conf, err := config(c)
	if err != nil {
		return nil, err
	}
	who, err := who(leaf)
	if err != nil {
		return nil, refused(err)
	}
	auth := e.Token.Auth()
	auth.LoginRole = name
	auth.Metadata = metadata(name, leaf, e.Metadata)
	auth.Alias = &api.Alias{Name: who}
	if conf.AliasMetadata {
		auth.Alias.Metadata = auth.Metadata
	}
	shownAs := e.DisplayName
	if shownAs == "" {
		shownAs = name
	}
	auth.DisplayName = c.DisplayName(shownAs)
	auth.Private, err = json.Marshal(private{name, sha256.Sum256(leaf.Raw)})
	return auth, err
}

// renew lets a token be renewed by who holds the certificate that it was made for,
// where that would still log in by the same entry. Where the mount says so, anybody who
// holds the token may, as long as there is the entry.
func (engine) renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	var p private
	if err := json.Unmarshal(s.Private, &p); err != nil || p.Entry == "" {
		return nil, fmt.Errorf("cert: %w: what a token keeps of its login", store.ErrCorrupt)
	}
	conf, err := config(c)
	if err != nil {
		return nil, err
	}
	e, err := load(c, p.Entry)
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return nil, refused(errTrust)
	case conf.DisableBinding:
		return e.Token.Auth(), nil
	}
	peer, err := show(c.Peer)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(peer.leaf.Raw) != p.Leaf {
		return nil, refused(errOther)
	}
	d, end := newDesk(c, peer)
	defer end()
	switch err := d.judge(e); {
	case errors.Is(err, errInternal):
		return nil, err
	case err != nil:
		return nil, refused(err)
	}
	return e.Token.Auth(), nil
}

var errOther = errors.New("the certificate is not the one that the token was made for")
