package cert

import (
	"crypto/x509"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"
)

func FuzzAnchors(f *testing.F) {
	ca := authorityOf(f, nil, "ca")
	f.Add(pemOf(ca.cert, ca.client(nil)))
	f.Add("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAnchors(text)
		if err == nil && (len(a.authorities)+len(a.pinned) == 0 || len(a.marks()) > maxAnchors) {
			t.Error("takes nothing, or too much")
		}
	})
}

func FuzzCRL(f *testing.F) {
	ca := authorityOf(f, nil, "ca")
	f.Add([]byte(ca.revoke(nil, big.NewInt(5))))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, err := parseCRL(text, start)
		if err != nil {
			return
		}
		row, want := rowOf(whole, "", start), false
		l := &list{raw: whole.Raw, delta: row.Delta}
		l.signed.SignatureAlgorithm = row.Algorithm
		for _, e := range whole.RevokedCertificateEntries {
			want = want || e.SerialNumber.Cmp(big.NewInt(5)) == 0 && !(row.Delta && e.ReasonCode == removedFromCRL)
		}
		if !l.open() {
			t.Fatal("a list that was taken in cannot be read")
		}
		if got, err := l.has(big.NewInt(5)); err != nil || got != want {
			t.Errorf("number 5 is revoked: %v, %v; want %v", got, err, want)
		}
		if whole.CheckSignatureFrom(ca.cert) == nil != l.by(ca.cert) {
			t.Error("whose it is is judged otherwise than by the standard library")
		}
	})
}

// No bytes that the issuer has not signed say good.
func FuzzOCSP(f *testing.F) {
	ca, other := authorityOf(f, nil, "ca"), authorityOf(f, nil, "other")
	leaf := ca.client(nil)
	form := ocsp.Response{Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: start, NextUpdate: start.AddDate(0, 0, 1)}
	for _, by := range []*issuer{other, ca} {
		form.Certificate = other.cert
		der, err := ocsp.CreateResponse(ca.cert, by.cert, form, other.key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	j := &judgement{now: start, leaf: leaf, issuer: ca.cert}
	f.Fuzz(func(t *testing.T, der []byte) {
		if j.status(der) == nil {
			t.Errorf("%x says good", der)
		}
	})
}

func FuzzExtensionRule(f *testing.F) {
	ca := authorityOf(f, nil, "ca")
	leaf := ca.client(func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} })
	for _, s := range []string{"1.2.3:*", "hex:2.5.29.17:*", "1.2", ":", "hex:", "1..2:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		oid, _, _, ok := extensionRule(text)
		if ok && (!strings.Contains(text, oid+":") || strings.HasSuffix(oid, ".")) {
			t.Errorf("%q is about %q", text, oid)
		}
		r := rules{Extensions: []string{text}}
		if r.met(leaf) && !ok {
			t.Errorf("%q is met", text)
		}
	})
}
