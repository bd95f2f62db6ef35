package cert

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// responder answers what the test says about the certificate that it is asked about.
type responder struct {
	*testing.T
	url    string
	asked  int
	form   ocsp.Response
	by     *issuer           // who signs
	about  *x509.Certificate // issuer of the certificate
	silent int               // how often it does not answer at first
	status int               // of HTTP; 0: 200
	raw    []byte            // in place of an answer
}

func (r *responder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.asked++
	body, err := io.ReadAll(q.Body)
	if err != nil {
		r.Error(err)
	}
	question, err := ocsp.ParseRequest(body)
	if err != nil || q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/ocsp-request" {
		r.Errorf("was asked wrongly: %v", err)
	}
	switch {
	case r.asked <= r.silent:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case r.status != 0:
		w.WriteHeader(r.status)
		return
	}
	form := r.form
	if form.SerialNumber == nil {
		form.SerialNumber = question.SerialNumber
	}
	answer := r.raw
	if answer == nil {
		if answer, err = ocsp.CreateResponse(r.about, r.by.cert, form, r.by.key); err != nil {
			r.Error(err)
		}
	}
	if _, err := w.Write(answer); err != nil {
		r.Error(err)
	}
}

// respond starts a responder of an issuer, that says good.
func respond(t *testing.T, ca *issuer) *responder {
	t.Helper()
	r := &responder{T: t, by: ca, about: ca.cert, form: ocsp.Response{Status: ocsp.Good, ThisUpdate: start.Add(-time.Minute), NextUpdate: start.Add(time.Minute)}}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

// responderCert makes a certificate of one who answers for an issuer.
func responderCert(t *testing.T, by *issuer, change func(*x509.Certificate)) *issuer {
	t.Helper()
	key := newKey(t)
	form := &x509.Certificate{Subject: pkix.Name{CommonName: "responder"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}
	if change != nil {
		change(form)
	}
	return &issuer{t, by.make(t, form, key), key}
}

// embedded puts the signer's certificate into the answer.
func embedded(by *issuer) func(*responder) {
	return func(r *responder) { r.by, r.form.Certificate = by, by.cert }
}

// An answer counts that is about this certificate, of now, and of somebody who may say so.
func TestCVE_2024_2660_AnswersThatCount(t *testing.T) {
	ca, other, twin := authorityOf(t, nil, "ca"), authorityOf(t, nil, "other"), authorityOf(t, nil, "ca")
	delegate := responderCert(t, ca, nil)
	for _, c := range []struct {
		name   string
		change func(*responder)
		in     bool
	}{
		{"good", func(*responder) {}, true},
		{"revoked", func(r *responder) { r.form.Status, r.form.RevokedAt = ocsp.Revoked, start }, false},
		{"unknown", func(r *responder) { r.form.Status = ocsp.Unknown }, false},
		{"about another number", func(r *responder) { r.form.SerialNumber = big.NewInt(9) }, false},
		{"about another issuer's certificate", func(r *responder) { r.about = other.cert }, false},
		{"about that of an issuer of the same name", func(r *responder) { r.about = twin.cert }, false},
		{"by another", func(r *responder) { r.by = other }, false},
		{"by another of the same name", func(r *responder) { r.by = twin }, false},
		{"by another, shown", embedded(other), false},
		{"by a delegate", embedded(delegate), true},
		{"by a delegate that is not shown", func(r *responder) { r.by = delegate }, false},
		{"by a delegate of another", embedded(responderCert(t, other, nil)), false},
		{"by a delegate of another of the same name", embedded(responderCert(t, twin, nil)), false},
		{"by a client", embedded(responderCert(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), false},
		{"by who may do anything else", embedded(responderCert(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = nil })), false},
		{"by a delegate that has expired", embedded(responderCert(t, ca, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = start.Add(-time.Hour), start.Add(-time.Minute) })), false},
		{"stale", func(r *responder) { r.form.NextUpdate = start.Add(-time.Second) }, false},
		{"of the future", func(r *responder) {
			r.form.ThisUpdate, r.form.NextUpdate = start.Add(time.Hour), start.Add(2*time.Hour)
		}, false},
		{"old, without an end", func(r *responder) { r.form.ThisUpdate, r.form.NextUpdate = start.Add(-time.Hour), time.Time{} }, false},
		{"new, without an end", func(r *responder) { r.form.NextUpdate = time.Time{} }, true},
		{"revoked, stale", func(r *responder) {
			r.form.Status, r.form.RevokedAt, r.form.NextUpdate = ocsp.Revoked, start, start.Add(-time.Second)
		}, false},
		{"no answer", func(r *responder) { r.raw = []byte("x") }, false},
		{"a refusal", func(r *responder) { r.raw = ocsp.UnauthorizedErrorResponse }, false},
		{"an error", func(r *responder) { r.status = 500 }, false},
		{"a redirect", func(r *responder) { r.status = 302 }, false},
		{"busy at first", func(r *responder) { r.silent = 2 }, true},
		{"busy for long", func(r *responder) { r.silent = 100 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, r := open(t), respond(t, ca)
			c.change(r)
			leaf := ca.client(func(c *x509.Certificate) { c.OCSPServer = []string{"ldap://x", r.url} })
			m.trust("a", fields{"certificate": pemOf(ca.cert), "ocsp_enabled": true})
			m.want(c.name, c.in, leaf)
			if r.asked == 0 {
				t.Error("was not asked")
			}
			m.trust("a", fields{"ocsp_fail_open": true, "ocsp_max_retries": 0})
			m.want("let in where the status is not known", r.form.Status != ocsp.Revoked, leaf)
		})
	}
}

func TestWhoIsAsked(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	good, bad, mute := respond(t, ca), respond(t, ca), respond(t, ca)
	bad.form.Status, bad.form.RevokedAt, mute.status = ocsp.Revoked, start, 500
	leaf := ca.client(func(c *x509.Certificate) { c.OCSPServer = []string{bad.url} })
	set := func(f fields) {
		t.Helper()
		f["certificate"], f["ocsp_max_retries"] = pemOf(ca.cert), 0
		m.trust("a", f)
	}
	set(fields{})
	m.want("nobody, where it is off", true, leaf)
	set(fields{"ocsp_enabled": true})
	m.want("whom the certificate names", false, leaf)
	m.want("nobody, where nobody is named", false, ca.client(nil))
	set(fields{"ocsp_servers_override": []string{good.url}})
	m.want("whom the operator names", true, leaf)
	set(fields{"ocsp_servers_override": []string{mute.url, good.url, bad.url}})
	before := bad.asked
	m.want("until one says", true, leaf)
	if bad.asked != before {
		t.Errorf("one more was asked")
	}
	set(fields{"ocsp_query_all_servers": true})
	m.want("all, of which one says revoked", false, leaf)
	set(fields{"ocsp_servers_override": []string{mute.url, good.url}})
	m.want("all, of which one says nothing", false, leaf)
	set(fields{"ocsp_servers_override": []string{good.url, mute.url}})
	m.want("all, of which the last says nothing", false, leaf)
	set(fields{"ocsp_servers_override": []string{mute.url, bad.url}, "ocsp_fail_open": true})
	m.want("all, of which the last says revoked", false, leaf)
	set(fields{"ocsp_servers_override": []string{good.url, good.url}, "ocsp_fail_open": false})
	m.want("all, who agree", true, leaf)
	set(fields{"ocsp_this_update_max_age": 30})
	m.want("with an answer that is too old for the entry", false, leaf)
}

// Answers of a responder that the operator has named are believed, and its certificate
// tells the issuer of one that is pinned.
func TestNamedResponders(t *testing.T) {
	m, ca, third := open(t), authorityOf(t, nil, "ca"), authorityOf(t, nil, "third")
	r := respond(t, ca)
	r.by = third
	leaf := ca.client(func(c *x509.Certificate) { c.OCSPServer = []string{r.url} })
	m.trust("a", fields{"certificate": pemOf(ca.cert), "ocsp_enabled": true})
	m.want("not named", false, leaf)
	m.trust("a", fields{"ocsp_ca_certificates": pemOf(third.cert)})
	m.want("named", true, leaf)
	r.about = third.cert
	m.want("named, about another", false, leaf)
	r.by, r.about = ca, ca.cert
	m.trust("a", fields{"certificate": pemOf(leaf)})
	m.want("pinned, and nobody knows its issuer", false, leaf)
	twin := authorityOf(t, nil, "ca")
	r.by, r.about = twin, twin.cert
	m.trust("a", fields{"ocsp_ca_certificates": pemOf(twin.cert)})
	m.want("pinned, and one of its issuer's name says good", false, leaf)
	r.by, r.about = ca, ca.cert
	m.trust("a", fields{"ocsp_ca_certificates": pemOf(third.cert, ca.cert)})
	m.want("pinned", true, leaf)
	r.form.Status, r.form.RevokedAt = ocsp.Revoked, start
	m.want("pinned and revoked", false, leaf)
}

// Hashes of the issuer's name and key are compared, whichever hash they are of.
func TestIssuerHashes(t *testing.T) {
	ca := authorityOf(t, nil, "ca")
	leaf := ca.client(nil)
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384} {
		form := ocsp.Response{Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: start, NextUpdate: start.Add(time.Hour), IssuerHash: h}
		der, err := ocsp.CreateResponse(ca.cert, ca.cert, form, ca.key)
		if err != nil {
			t.Fatal(err)
		}
		j := &judgement{now: start, leaf: leaf, issuer: ca.cert}
		if err := j.status(der); err != nil {
			t.Errorf("%v: %v", h, err)
		}
	}
}
