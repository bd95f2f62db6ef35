package cert

import (
	"bytes"
	"context"
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
)

// ocspTerms say how an entry asks whether a certificate is revoked (RFC 6960).
type ocspTerms struct {
	Enabled    bool          `json:"enabled,omitempty"`
	Responders string        `json:"responders,omitempty"` // certificates, in PEM, whose answers are believed besides the issuer's
	Servers    []string      `json:"servers,omitempty"`    // to ask in place of those that the certificate names
	FailOpen   bool          `json:"fail_open,omitempty"`
	All        bool          `json:"all,omitempty"`
	Retries    int           `json:"retries"`
	MaxAge     time.Duration `json:"max_age,omitempty"` // 0: as the answer says
}

// Bounds of asking.
const (
	maxRetries  = 4
	maxServers  = 8
	patience    = 20 * time.Second // for all responders together, and for lists that are fetched anew
	maxAsked    = 8                // different ways to ask in one login, by entries that trust the same
	askTimeout  = 4 * time.Second
	ocspSkew    = 5 * time.Minute  // by which a responder's clock may be ahead
	lastingless = 10 * time.Minute // how long an answer is good that does not say
)

var (
	errRevoked     = errors.New("the certificate has been revoked")
	errNoStatus    = errors.New("it cannot be found out whether the certificate has been revoked")
	errForeign     = errors.New("the answer is about another certificate")
	errStale       = errors.New("the answer is not of this time")
	errResponder   = errors.New("the answer is of nobody who may say so")
	errDisagree    = errors.New("responders do not agree")
	errNobodyToAsk = errors.New("neither the certificate nor the entry names a responder")
)

// check is nil when the responders say that the certificate is good or, where the
// entry says so, when they do not say. The issuer is nil where no chain leads to it.
func (o *ocspTerms) check(c *api.Call, leaf, issuer *x509.Certificate) error {
	err := o.ask(c, leaf, issuer)
	if err == nil || errors.Is(err, errRevoked) || !o.FailOpen {
		return err
	}
	return nil
}

func (o *ocspTerms) ask(c *api.Call, leaf, issuer *x509.Certificate) error {
	var trusted []*x509.Certificate
	if o.Responders != "" {
		var err error
		if trusted, err = parsePEM(o.Responders); err != nil {
			return fmt.Errorf("%w: %w", errNoStatus, err)
		}
	}
	if issuer == nil {
		if issuer = issuerAmong(trusted, leaf); issuer == nil {
			return fmt.Errorf("%w: its issuer is not known", errNoStatus)
		}
	}
	hash := crypto.SHA1 // which all responders know; it names the issuer, and nothing rests on it
	if fips140.Enabled() {
		hash = crypto.SHA256
	}
	question, err := ocsp.CreateRequest(leaf, issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		return fmt.Errorf("%w: %w", errNoStatus, err)
	}
	servers := o.Servers
	if len(servers) == 0 {
		servers = slices.DeleteFunc(slices.Clone(leaf.OCSPServer), func(s string) bool { return !isHTTP(s) })
	}
	if len(servers) == 0 {
		return fmt.Errorf("%w: %w", errNoStatus, errNobodyToAsk)
	}
	j := &judgement{now: c.Now, leaf: leaf, issuer: issuer, trusted: trusted, maxAge: o.MaxAge}
	ctx, cancel := context.WithTimeout(c, patience)
	defer cancel()
	return o.askAll(ctx, j, question, servers[:min(len(servers), maxServers)])
}

// issuerAmong is the certificate that has issued another; nil when none has.
func issuerAmong(certs []*x509.Certificate, leaf *x509.Certificate) *x509.Certificate {
	for _, ca := range certs {
		if bytes.Equal(ca.RawSubject, leaf.RawIssuer) && leaf.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

// askAll asks until one responder says what the status is or, where all are to be
// asked, all of them.
func (o *ocspTerms) askAll(ctx context.Context, j *judgement, question []byte, servers []string) error {
	err := errNoStatus
	for _, server := range servers {
		said := o.askOne(ctx, j, question, server)
		switch {
		case errors.Is(said, errRevoked):
			return said
		case o.All && said != nil:
			err = fmt.Errorf("%w: %w", errDisagree, said) // another may still say that it is revoked
		case o.All && errors.Is(err, errDisagree):
		case said == nil && !o.All:
			return nil
		case said == nil:
			err = nil
		default:
			err = said
		}
	}
	return err
}

// askOne asks one responder, again where it does not answer.
func (o *ocspTerms) askOne(ctx context.Context, j *judgement, question []byte, server string) error {
	header := http.Header{"Content-Type": {"application/ocsp-request"}, "Accept": {"application/ocsp-response"}}
	var err error
	for range 1 + o.Retries {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errNoStatus, ctx.Err())
		}
		var a *outbound.Answer
		if a, err = (outbound.Peer{Timeout: askTimeout}).Do(ctx, http.MethodPost, server, header, question); err != nil {
			continue
		}
		if a.Status != http.StatusOK {
			err = fmt.Errorf("%w: the responder answered with status %d", errNoStatus, a.Status)
			continue
		}
		return j.status(a.Body)
	}
	return fmt.Errorf("%w: %w", errNoStatus, err)
}

// judgement is what an answer must be about, and of whom.
type judgement struct {
	now          time.Time
	leaf, issuer *x509.Certificate
	trusted      []*x509.Certificate // responders that the operator has named
	maxAge       time.Duration
}

// status is nil when an answer says that the certificate is good, errRevoked when it
// says that it is revoked, and anything else when it does not say.
func (j *judgement) status(der []byte) error {
	r, err := j.signed(der)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoStatus, err)
	}
	if err := j.about(der, r); err != nil {
		return fmt.Errorf("%w: %w", errNoStatus, err)
	}
	if r.Status == ocsp.Revoked { // also when it is an old answer: it does not become good again
		return errRevoked
	}
	if !j.current(r) {
		return fmt.Errorf("%w: %w", errNoStatus, errStale)
	}
	if r.Status != ocsp.Good {
		return fmt.Errorf("%w: the responder does not know it", errNoStatus)
	}
	return nil
}

// signed reads an answer of the issuer, of a responder that it has delegated to, or of
// one that the operator has named.
func (j *judgement) signed(der []byte) (*ocsp.Response, error) {
	r, err := ocsp.ParseResponseForCert(der, j.leaf, nil)
	if err != nil {
		return nil, err
	}
	if weak(r.SignatureAlgorithm) {
		return nil, errResponder
	}
	for _, signer := range append([]*x509.Certificate{j.issuer}, j.trusted...) {
		if r.CheckSignatureFrom(signer) == nil {
			return r, nil
		}
	}
	if r.Certificate == nil || !j.delegate(r.Certificate) { // with one, the library has looked that it signed
		return nil, errResponder
	}
	return r, nil
}

// weak reports whether a signature is by a hash of which collisions can be made.
func weak(a x509.SignatureAlgorithm) bool {
	return a == x509.SHA1WithRSA || a == x509.ECDSAWithSHA1 || a == x509.DSAWithSHA1 || a == x509.MD5WithRSA || a == x509.MD2WithRSA
}

// delegate reports whether the issuer lets the holder of a certificate answer for it
// (RFC 6960, section 4.2.2.2).
func (j *judgement) delegate(responder *x509.Certificate) bool {
	return slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) &&
		bytes.Equal(responder.RawIssuer, j.issuer.RawSubject) && responder.CheckSignatureFrom(j.issuer) == nil &&
		!j.now.Before(responder.NotBefore) && !j.now.After(responder.NotAfter)
}

// current reports whether an answer is of this time.
func (j *judgement) current(r *ocsp.Response) bool {
	age := j.now.Sub(r.ThisUpdate)
	switch {
	case age < -ocspSkew, j.maxAge > 0 && age > j.maxAge:
		return false
	case r.NextUpdate.IsZero():
		return j.maxAge > 0 || age <= lastingless
	}
	return !j.now.After(r.NextUpdate)
}

// about demands that an answer is about the certificate of that number and of that
// issuer, and about no other. The library looks at the number alone.
func (j *judgement) about(der []byte, r *ocsp.Response) error {
	ids, err := certIDs(der)
	if err != nil {
		return err
	}
	name, key, err := j.issuerHashes(r.IssuerHash)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id.Serial.Cmp(j.leaf.SerialNumber) == 0 { // the one that the library has taken
			if !bytes.Equal(id.NameHash, name) || !bytes.Equal(id.KeyHash, key) {
				return errForeign
			}
			return nil
		}
	}
	return errForeign
}

// issuerHashes are those of the issuer's name and key.
func (j *judgement) issuerHashes(h crypto.Hash) (name, key []byte, err error) {
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(j.issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, nil, err
	}
	if !h.Available() {
		return nil, nil, errForeign
	}
	sum := func(b []byte) []byte {
		d := h.New()
		d.Write(b)
		return d.Sum(nil)
	}
	return sum(j.issuer.RawSubject), sum(spki.Key.RightAlign()), nil
}

// certID names a certificate in an answer (RFC 6960, section 4.1.1).
type certID struct {
	Algorithm asn1.RawValue
	NameHash  []byte
	KeyHash   []byte
	Serial    *big.Int
}

// certIDs are the certificates that an answer is about, in its order.
func certIDs(der []byte) ([]certID, error) {
	var outer struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type     asn1.ObjectIdentifier
			Response []byte
		} `asn1:"explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return nil, err
	}
	var basic struct {
		Data struct {
			Version   int `asn1:"optional,default:0,explicit,tag:0"`
			Responder asn1.RawValue
			Produced  time.Time `asn1:"generalized"`
			Responses []struct {
				ID   certID
				Rest asn1.RawValue
			}
		}
	}
	if _, err := asn1.Unmarshal(outer.Bytes.Response, &basic); err != nil {
		return nil, err
	}
	out := make([]certID, len(basic.Data.Responses))
	for i, r := range basic.Data.Responses {
		out[i] = r.ID
	}
	return out, nil
}
