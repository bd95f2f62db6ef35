package jwt

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// How long what was fetched from an issuer is used.
const (
	keysFresh  = time.Hour        // then it is fetched again
	keysUsable = 24 * time.Hour   // then, when it could not be fetched, it is used no more
	askEvery   = 5 * time.Second  // at most so often, by all nodes together, is an issuer asked for a key that is not known
	askTimeout = 10 * time.Second // an answer that has not come by then does not come
)

const issuerRow = "issuer"

// key is a public key of an issuer.
type key struct {
	ID  string `json:"kid,omitempty"`
	Alg string `json:"alg,omitempty"` // the one algorithm it is for; empty: those of its kind
	DER []byte `json:"der"`           // as in a certificate (PKIX)
}

func (k key) public() (any, error) {
	p, err := x509.ParsePKIXPublicKey(k.DER)
	if err != nil {
		return nil, fmt.Errorf("jwt: a key cannot be read: %w", store.ErrCorrupt)
	}
	return p, nil
}

// parsePEM reads a public key, or that of a certificate.
func parsePEM(text string) (key, error) {
	block, rest := pem.Decode([]byte(strings.TrimSpace(text)))
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return key{}, wrong("is not one public key in PEM")
	}
	var public any
	var err error
	switch block.Type {
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	default:
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return key{}, wrong("is not a public key in PEM")
	}
	return newKey("", "", public)
}

func newKey(id, alg string, public any) (key, error) {
	if algorithmsOf(public) == nil {
		return key{}, wrong("is of a kind or size that is not taken: RSA of %d to %d bits, P-256, P-384, P-521 or Ed25519", minRSA, maxRSA)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	return key{ID: id, Alg: alg, DER: der}, err
}

// parseKeys reads a set of keys (RFC 7517). Those that are not for verifying, or of kinds
// that are not taken, are left out: they are none of our business.
func parseKeys(b []byte) ([]key, error) {
	if _, err := api.ParseBodyWithin(b, maxValues); err != nil {
		return nil, wrong("the keys are not a JSON object")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, wrong("the keys are not a set of keys")
	}
	var out []key
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.Use == "enc" || !k.IsPublic() || len(k.KeyID) > maxName {
			continue
		}
		if made, err := newKey(k.KeyID, k.Algorithm, k.Key); err == nil {
			out = append(out, made)
		}
	}
	switch {
	case len(out) == 0:
		return nil, wrong("there is no key among them that could verify a token")
	case len(out) > maxKeys:
		return nil, wrong("there are more than %d keys", maxKeys)
	}
	return out, nil
}

// issuer is what was fetched of an issuer.
type issuer struct {
	Of      string    `json:"of"` // config.ID that it was fetched by
	Fetched time.Time `json:"fetched"`
	Asked   time.Time `json:"asked"` // last, with or without an answer
	Keys    []key     `json:"keys"`
	Meta    *metadata `json:"meta,omitempty"`
}

// metadata is what an OpenID provider says of itself (OpenID Connect Discovery 1.0, 3).
type metadata struct {
	Issuer        string   `json:"issuer"`
	JWKS          string   `json:"jwks_uri"`
	Authorization string   `json:"authorization_endpoint,omitempty"`
	Token         string   `json:"token_endpoint,omitempty"`
	UserInfo      string   `json:"userinfo_endpoint,omitempty"`
	Device        string   `json:"device_authorization_endpoint,omitempty"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported,omitempty"`
}

// checkURL takes addresses that others cannot speak for: by TLS, or on the machine itself.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return wrong("is not an address such as https://login.example.com")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return wrong("must begin with https://")
	}
	if loopback(u.Hostname()) {
		return nil
	}
	return wrong("must begin with https://: over http, whoever is on the way could make keys of their own")
}

// loopback reports whether a host is this machine itself.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// question is a request to an issuer.
type question struct {
	method, target string
	header         http.Header
	body           []byte
}

// ask asks an issuer and wants its answer to be a JSON object, whatever its status.
func ask(ctx context.Context, ca string, q question) (*outbound.Answer, error) {
	if q.header == nil {
		q.header = http.Header{}
	}
	q.header.Set("Accept", "application/json")
	return outbound.Peer{CAPEM: ca, Timeout: askTimeout}.Do(ctx, q.method, q.target, q.header, q.body)
}

func get(ctx context.Context, ca, target string) ([]byte, error) {
	a, err := ask(ctx, ca, question{method: http.MethodGet, target: target})
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, wrong("the answer has status %d", a.Status)
	}
	return a.Body, nil
}

// discover asks a provider what it says of itself.
func discover(ctx context.Context, base, ca string) (*metadata, error) {
	b, err := get(ctx, ca, strings.TrimSuffix(base, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var m metadata
	if _, err := api.ParseBodyWithin(b, maxValues); err != nil || json.Unmarshal(b, &m) != nil {
		return nil, wrong("what the provider says of itself is not as OpenID Connect Discovery wants it")
	}
	if strings.TrimSuffix(m.Issuer, "/") != strings.TrimSuffix(base, "/") {
		return nil, wrong("the provider calls itself another issuer than it was asked as")
	}
	for _, u := range []string{m.JWKS, m.Authorization, m.Token, m.UserInfo, m.Device} {
		if u == "" && u != m.JWKS {
			continue
		}
		if err := checkURL(u); err != nil {
			return nil, wrong("an address that the provider names %v", err)
		}
	}
	if len(m.TokenAuth) > maxList {
		m.TokenAuth = nil
	}
	return &m, nil
}

// fetch asks the issuer for its keys, and for what it says of itself.
func (cfg *config) fetch(ctx context.Context) ([]key, *metadata, error) {
	target, ca, meta := cfg.JWKSURL, cfg.JWKSCA, (*metadata)(nil)
	if cfg.DiscoveryURL != "" {
		var err error
		if meta, err = discover(ctx, cfg.DiscoveryURL, cfg.DiscoveryCA); err != nil {
			return nil, nil, err
		}
		target, ca = meta.JWKS, cfg.DiscoveryCA
	}
	b, err := get(ctx, ca, target)
	if err != nil {
		return nil, nil, err
	}
	keys, err := parseKeys(b)
	return keys, meta, err
}

// static are the keys that the configuration itself holds.
func (cfg *config) static() ([]key, error) {
	out := make([]key, 0, len(cfg.PublicKeys))
	for _, text := range cfg.PublicKeys {
		k, err := parsePEM(text)
		if err != nil {
			return nil, fmt.Errorf("jwt: a key of the configuration %w", errors.Join(err, store.ErrCorrupt))
		}
		out = append(out, k)
	}
	return out, nil
}

func errAsking() *api.Error {
	return &api.Error{Kind: api.Unavailable, Message: "the issuer's keys are not known yet, or could not be fetched", Hint: "try again in a few seconds"}
}

// current is what is known of the issuer; it is fetched when it is too old, or was never fetched.
func (cfg *config) current(c *api.Call) (*issuer, error) {
	var is issuer
	if _, err := load(c, c.Store, issuerRow, &is); err != nil {
		return nil, err
	}
	if is.Of == cfg.ID && near(is.Fetched, c.Now, keysFresh) {
		return &is, nil
	}
	newer, err := cfg.refresh(c)
	switch {
	case err != nil:
		return nil, err
	case newer != nil:
		return newer, nil
	case is.Of == cfg.ID && near(is.Fetched, c.Now, keysUsable):
		return &is, nil // it could not be fetched, or another is at it
	}
	return nil, errAsking()
}

// refresh fetches the issuer's keys, unless it was asked a moment ago: then, and when the issuer does not
// answer, there is no issuer and no error. Of all nodes one asks.
func (cfg *config) refresh(c *api.Call) (*issuer, error) {
	mine := false
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		var is issuer
		if _, err := take(tx, issuerRow, &is); err != nil {
			return err
		}
		if is.Of != cfg.ID {
			is = issuer{Of: cfg.ID}
		}
		if mine = !near(is.Asked, c.Now, askEvery); !mine {
			return nil
		}
		is.Asked = c.Now
		return put(tx, issuerRow, &is)
	})
	if err != nil || !mine {
		return nil, err
	}
	ctx := context.WithoutCancel(c) // nobody else asks for a while: this goes on though who asked goes away
	keys, meta, err := cfg.fetch(ctx)
	if err != nil {
		return nil, nil // what is known is used while it may be
	}
	is := &issuer{Of: cfg.ID, Fetched: c.Now, Asked: c.Now, Keys: keys, Meta: meta}
	_, err = store.Update(ctx, c.Store, func(tx *store.Tx) error {
		var now config
		if _, err := take(tx, configRow, &now); err != nil || now.ID != cfg.ID {
			return err // the configuration is another by now
		}
		return put(tx, issuerRow, is)
	})
	return is, err
}

// read verifies a token's signature by the keys that the configuration stands for,
// and answers what it says. A key that is not known is asked for.
func (cfg *config) read(c *api.Call, raw string, allowed []string) (claims, error) {
	raw = strings.TrimSpace(raw)
	h, err := headerOf(raw)
	if err != nil {
		return nil, err
	}
	if len(cfg.PublicKeys) > 0 {
		keys, err := cfg.static()
		if err != nil {
			return nil, err
		}
		return said(verify(raw, h, keys, allowed))
	}
	is, err := cfg.current(c)
	if err != nil {
		return nil, err
	}
	keys := candidates(is.Keys, h.kid)
	payload, err := verify(raw, h, keys, allowed)
	if err == nil || !errors.Is(err, errSignature) || len(keys) > 0 && h.kid != "" {
		return said(payload, err)
	}
	newer, err := cfg.refresh(c)
	switch {
	case err != nil:
		return nil, err
	case newer == nil && is.Asked.After(is.Fetched) && near(is.Asked, c.Now, askTimeout):
		return nil, errAsking()
	case newer == nil:
		return nil, errSignature
	}
	return said(verify(raw, h, candidates(newer.Keys, h.kid), allowed))
}

func said(payload []byte, err error) (claims, error) {
	if err != nil {
		return nil, err
	}
	return parseClaims(payload)
}

// allowed are the algorithms that the configuration lets tokens be signed with.
func (cfg *config) allowed(usual []string) []string {
	if len(cfg.Algorithms) > 0 {
		return cfg.Algorithms
	}
	return slices.Clone(usual)
}
