package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// crl is what is known of a revocation list (RFC 5280, section 5). The list itself
// lies in a row of its own.
type crl struct {
	URL        string                  `json:"url,omitempty"` // where it is fetched; empty: it was handed in
	Issuer     []byte                  `json:"issuer"`
	KeyID      []byte                  `json:"key_id,omitempty"` // of the issuer's key, where the list says
	Number     *big.Int                `json:"number,omitempty"`
	Delta      bool                    `json:"delta,omitempty"`
	Unproved   bool                    `json:"unproved,omitempty"` // it came in the clear, and whether its issuer has signed it is not known yet
	Algorithm  x509.SignatureAlgorithm `json:"algorithm"`
	Issued     time.Time               `json:"issued"`
	Expires    time.Time               `json:"expires,omitzero"`
	NextFetch  time.Time               `json:"next,omitzero"`
	LastFailed time.Time               `json:"failed,omitzero"`
}

// Bounds of revocation lists.
const (
	maxCRL       = 512 << 10        // of one, in bytes
	maxCRLs      = 100              // that one login looks at
	refetchEvery = time.Hour        // a list is fetched again, or earlier when it expires
	retryAfter   = 15 * time.Second // a fetch that failed
	crlSkew      = 5 * time.Minute  // by which an issuer's clock may be ahead
)

// expired reports whether a list says nothing any more about what it does not hold.
func (r *crl) expired(now time.Time) bool { return !r.Expires.IsZero() && now.After(r.Expires) }

// CRLName names a revocation list.
type CRLName struct {
	Name api.Name `path:"name"` // The list.
}

// PutCRL hands in a revocation list, or says where it is fetched.
type PutCRL struct {
	Name api.Name `path:"name"` // The list.
	CRL  string   `json:"crl"`  // The list, in PEM.
	URL  string   `json:"url"`  // Where the list is fetched, now and again at least every hour while certificates of its issuer log in.
}

// CRL is a revocation list as it is read.
type CRL struct {
	Serials map[string]struct{} `json:"serials" audit:"clear"`
	CDP     *CDP                `json:"cdp"`
}

// CDP is where a list is fetched, and until when it holds.
type CDP struct {
	URL        string   `json:"url"`
	ValidUntil api.Time `json:"valid_until"`
}

// readCRL answers what a revocation list holds.
func (engine) readCRL(c *api.Call, q *CRLName) (*CRL, error) {
	row, err := loadCRL(c, c.Store, string(q.Name))
	switch {
	case err != nil:
		return nil, err
	case row == nil:
		return nil, api.ErrNotFound()
	}
	l, err := loadList(c, string(q.Name), row)
	if err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(l.raw)
	if err != nil {
		return nil, fmt.Errorf("cert: %w: a revocation list cannot be read", store.ErrCorrupt)
	}
	a := &CRL{Serials: map[string]struct{}{}}
	for _, e := range list.RevokedCertificateEntries {
		a.Serials[e.SerialNumber.String()] = struct{}{}
	}
	if row.URL != "" {
		a.CDP = &CDP{URL: row.URL, ValidUntil: api.Time{Time: row.Expires}}
	}
	return a, nil
}

// listCRLs names the revocation lists.
func (engine) listCRLs(c *api.Call, _ *api.None) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, listPrefix, "", 0)
	return &api.Keys{Keys: names}, err
}

// putCRL takes a revocation list in; it replaces the one before.
func (engine) putCRL(c *api.Call, q *PutCRL) (*api.None, error) {
	if (q.CRL == "") == (q.URL == "") {
		return nil, api.Errorf(api.Invalid, "one of crl and url is needed, and not both")
	}
	text := []byte(q.CRL)
	if q.URL != "" {
		if !isHTTP(q.URL) {
			return nil, api.Errorf(api.Invalid, "url: must begin with http:// or https://")
		}
		var err error
		if err = outbound.JudgeURL(c, "url", q.URL); err != nil {
			return nil, err
		}
		if text, err = fetchCRL(c, q.URL); err != nil {
			return nil, unfetched(err)
		}
	}
	list, err := parseCRL(text, c.Now)
	if err != nil {
		field := "crl"
		if q.URL != "" {
			field = "url"
		}
		return nil, api.Errorf(api.Invalid, "%s: %v", field, err)
	}
	row := rowOf(list, q.URL, c.Now)
	if q.URL != "" && !vouched(list, q.URL, nil) {
		if row.Unproved, err = unproved(c, list); err != nil {
			return nil, err
		}
	}
	_, err = store.Update(c, c.Store, func(tx *store.Tx) error {
		if err := dropCRL(tx, string(q.Name)); err != nil {
			return err
		}
		return storeCRL(tx, string(q.Name), row, list)
	})
	if err == nil && row.expired(c.Now) {
		c.Warn("the list is out of date: until there is a newer one, no certificate of its issuer is let in")
	}
	return nil, err
}

// unproved reports whether nobody is known who could have signed a list that came in the clear, and refuses one that
// somebody has forged. It counts for nothing before a client shows its issuer.
func unproved(c *api.Call, list *x509.RevocationList) (bool, error) {
	known, err := issuers(c, list)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(known, func(ca *x509.Certificate) bool { return list.CheckSignatureFrom(ca) == nil }) {
		return false, nil
	}
	if len(known) > 0 {
		return false, &api.Error{Kind: api.Invalid, Message: "url: the list came over http, and is not signed by the authority that it names", Hint: "see whether somebody on the way has changed it, or name an address with https"}
	}
	c.Warn("url: the list came over http, and no entry trusts the authority that it is of: until a client shows a certificate of that, nothing says that the list is not forged. It is of: " + list.Issuer.String())
	return true, nil
}

// issuers are the authorities that entries trust of which a list may be.
func issuers(c *api.Call, list *x509.RevocationList) ([]*x509.Certificate, error) {
	names, err := store.Children(c, c.Store, trustPrefix+subjectMark(list.RawIssuer)+"/", "", maxCandidates)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, name := range names {
		e, err := load(c, name)
		if err != nil {
			return nil, err
		}
		if e == nil { // removed since
			continue
		}
		a, err := parseAnchors(e.Certificate)
		if err != nil {
			return nil, fmt.Errorf("cert: %w: the certificates of an entry cannot be read", store.ErrCorrupt)
		}
		for _, ca := range a.authorities {
			if bytes.Equal(ca.RawSubject, list.RawIssuer) && !ofOther(list.AuthorityKeyId, ca) && !slices.ContainsFunc(out, ca.Equal) {
				out = append(out, ca)
			}
		}
	}
	return out, nil
}

// unfetched says why a list could not be fetched.
func unfetched(err error) error {
	if f := outbound.Forbidden(err); f != nil {
		return f
	}
	why := outbound.Why(err)
	var status badStatus
	if errors.As(err, &status) {
		why = status.Error()
	}
	return &api.Error{Kind: api.Invalid, Message: "url: the list could not be fetched: " + why, Hint: "the server must reach it, and it must be a revocation list in DER or PEM", Err: err}
}

// deleteCRL removes a revocation list.
func (engine) deleteCRL(c *api.Call, q *CRLName) (*api.None, error) {
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		return dropCRL(tx, string(q.Name))
	})
	return nil, err
}

func loadCRL(c *api.Call, r store.Reader, name string) (*crl, error) {
	return store.LoadJSON[crl](c, r, listPrefix+name)
}

func rowOf(list *x509.RevocationList, from string, now time.Time) *crl {
	row := &crl{URL: from, Issuer: list.RawIssuer, KeyID: list.AuthorityKeyId, Number: list.Number, Algorithm: list.SignatureAlgorithm, Issued: list.ThisUpdate, Expires: list.NextUpdate,
		Delta: slices.ContainsFunc(list.Extensions, isDelta)}
	if from != "" {
		row.NextFetch = now.Add(refetchEvery)
		if row.Expires.After(now) && row.Expires.Before(row.NextFetch) {
			row.NextFetch = row.Expires
		}
	}
	return row
}

func storeCRL(tx *store.Tx, name string, row *crl, list *x509.RevocationList) error {
	tx.Put(derPrefix+name, list.Raw)
	tx.Put(issuerPrefix+subjectMark(row.Issuer)+"/"+name, []byte(name))
	return tx.PutJSON(listPrefix+name, row)
}

func dropCRL(tx *store.Tx, name string) error {
	var row crl
	found, err := tx.LoadJSON(listPrefix+name, &row)
	if err != nil || !found {
		return err
	}
	tx.Delete(listPrefix + name)
	tx.Delete(derPrefix + name)
	tx.Delete(issuerPrefix + subjectMark(row.Issuer) + "/" + name)
	return nil
}

var (
	errCRL         = errors.New("must be one revocation list in PEM")
	errCRLSize     = fmt.Errorf("is larger than %d bytes", maxCRL)
	errCRLFuture   = errors.New("is of a later time than now")
	errCRLCritical = errors.New("has a critical extension that is not known here, or lists what other issuers have revoked")
)

// Extensions of lists (RFC 5280, section 5.2).
var (
	oidDelta = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidScope = asn1.ObjectIdentifier{2, 5, 29, 28} // issuing distribution point
)

// parseCRL reads a list in PEM or DER, and refuses one of which this program does not
// understand whom it is about.
func parseCRL(text []byte, now time.Time) (*x509.RevocationList, error) {
	der := text
	if block, rest := pem.Decode(text); block != nil {
		if block.Type != "X509 CRL" || strings.TrimSpace(string(rest)) != "" {
			return nil, errCRL
		}
		der = block.Bytes
	}
	if len(der) > maxCRL {
		return nil, errCRLSize
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, errCRL
	}
	for _, e := range list.Extensions {
		if e.Critical && !isDelta(e) && !(e.Id.Equal(oidScope) && direct(e.Value)) {
			return nil, errCRLCritical
		}
	}
	for _, r := range list.RevokedCertificateEntries {
		for _, e := range r.Extensions {
			if e.Critical {
				return nil, errCRLCritical
			}
		}
	}
	if list.ThisUpdate.After(now.Add(crlSkew)) {
		return nil, errCRLFuture
	}
	return list, nil
}

func isDelta(e pkix.Extension) bool { return e.Id.Equal(oidDelta) }

// direct reports whether the scope of a list is its issuer's own certificates.
func direct(value []byte) bool {
	var scope struct {
		Point    asn1.RawValue `asn1:"optional,tag:0"`
		Users    bool          `asn1:"optional,tag:1"`
		CAs      bool          `asn1:"optional,tag:2"`
		Reasons  asn1.RawValue `asn1:"optional,tag:3"`
		Indirect bool          `asn1:"optional,tag:4"`
		Attrs    bool          `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(value, &scope)
	return err == nil && len(rest) == 0 && !scope.Indirect
}

// badStatus is that of an answer that is no list.
type badStatus int

// Error names it.
func (s badStatus) Error() string { return fmt.Sprintf("it is answered with status %d", int(s)) }

// fetchCRL asks for a list.
func fetchCRL(ctx context.Context, from string) ([]byte, error) {
	a, err := outbound.Peer{}.Do(ctx, http.MethodGet, from, nil, nil)
	switch {
	case err != nil:
		return nil, err
	case a.Status != http.StatusOK:
		return nil, badStatus(a.Status)
	}
	return a.Body, nil
}

// checkCRLs is nil when no list of a certificate's issuer says that it is revoked, and
// each list is of this time. The issuer is nil for a certificate that is trusted by
// itself.
func (d *desk) checkCRLs(cert, issuer *x509.Certificate) error {
	names, err := store.Children(d.call, d.call.Store, issuerPrefix+subjectMark(cert.RawIssuer)+"/", "", maxCRLs+1)
	if err != nil {
		return internal(err)
	}
	if d.lists += len(names); d.lists > maxCRLs {
		return fmt.Errorf("%w: its issuers have more than %d lists", errNoStatus, maxCRLs)
	}
	for _, name := range names {
		if err := d.checkCRL(name, cert, issuer); err != nil {
			return err
		}
	}
	return nil
}

func (d *desk) checkCRL(name string, cert, issuer *x509.Certificate) error {
	row, l, err := d.current(name, issuer)
	if err != nil || row == nil { // nil: removed since
		return internal(err)
	}
	if issuer == nil && row.Unproved {
		return fmt.Errorf("%w: the list %s came over http, and nobody knows whether it is forged", errNoStatus, name)
	}
	if issuer != nil && !l.by(issuer) {
		if l.ofOther(issuer) && !row.Unproved { // a forged one can say whose it is
			return nil
		}
		return fmt.Errorf("%w: the list %s is not signed by the issuer", errNoStatus, name)
	}
	revoked, err := l.has(cert.SerialNumber)
	switch {
	case err != nil:
		return internal(err)
	case revoked:
		return errRevoked
	case row.expired(d.call.Now):
		return fmt.Errorf("%w: the list %s is out of date", errNoStatus, name)
	}
	return nil
}

// current is a list as it is now, fetched anew where it is time.
func (d *desk) current(name string, issuer *x509.Certificate) (*crl, *list, error) {
	c := d.call
	row, err := loadCRL(c, c.Store, name)
	if err != nil || row == nil {
		return nil, nil, err
	}
	l, err := loadList(c, name, row)
	if err != nil || row.URL == "" || !due(row, c.Now) || issuer != nil && l.ofOther(issuer) && !row.Unproved {
		return row, l, err
	}
	if row, err = refetch(d.asking, c, name, row, issuer); err != nil || row == nil {
		return nil, nil, err
	}
	l, err = loadList(c, name, row)
	return row, l, err
}

func internal(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errInternal, err)
}

// due reports whether a list is to be fetched now.
func due(r *crl, now time.Time) bool {
	return !now.Before(r.NextFetch) && now.Sub(r.LastFailed) >= retryAfter
}

// refetch fetches a list anew. What cannot be fetched, or is not the successor of what
// there is, leaves that as it was, and is tried again a little later. Nil: there is
// no such list any more.
func refetch(asking context.Context, c *api.Call, name string, old *crl, issuer *x509.Certificate) (*crl, error) {
	row, list := old, (*x509.RevocationList)(nil)
	if text, err := fetchCRL(asking, old.URL); err == nil {
		if l, err := parseCRL(text, c.Now); err == nil && succeeds(l, old) && vouched(l, old.URL, issuer) {
			row, list = rowOf(l, old.URL, c.Now), l
		}
	}
	var now *crl
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		now = nil
		var there crl
		found, err := tx.LoadJSON(listPrefix+name, &there)
		switch {
		case err != nil || !found:
			return err
		case there.URL != old.URL || there.NextFetch.After(old.NextFetch): // somebody else was faster
			now = &there
			return nil
		case list == nil:
			there.LastFailed = c.Now
			now = &there
			return tx.PutJSON(listPrefix+name, &there)
		}
		now = row
		return storeCRL(tx, name, row, list)
	})
	return now, err
}

// succeeds reports whether a list may take the place of one that it was fetched from the
// same address as: it is of the same issuer and key, and no older. One that may be forged gives way.
func succeeds(l *x509.RevocationList, old *crl) bool {
	if old.Unproved && bytes.Equal(l.RawIssuer, old.Issuer) { // what a forged one says of itself keeps nobody out
		return true
	}
	if !bytes.Equal(l.RawIssuer, old.Issuer) || !bytes.Equal(l.AuthorityKeyId, old.KeyID) || l.ThisUpdate.Before(old.Issued) {
		return false
	}
	return old.Number == nil || l.Number != nil && l.Number.Cmp(old.Number) >= 0
}

// vouched reports whether a list that was fetched is the issuer's. Where that is not
// known, TLS must have shown that it comes from where the operator has said.
func vouched(l *x509.RevocationList, from string, issuer *x509.Certificate) bool {
	if issuer == nil {
		return strings.HasPrefix(strings.ToLower(from), "https://")
	}
	return l.CheckSignatureFrom(issuer) == nil
}
