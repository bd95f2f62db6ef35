package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

// start is the time of all tests.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// issuer is a certificate with its key.
type issuer struct {
	testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// make issues a certificate; without a parent it signs itself.
func (i *issuer) make(t testing.TB, cert *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	parent, signer := cert, crypto.Signer(key)
	if i != nil {
		parent, signer = i.cert, i.key
	}
	if cert.SerialNumber == nil {
		cert.SerialNumber = serialOf(key)
	}
	if cert.NotAfter.IsZero() {
		cert.NotBefore, cert.NotAfter = start.Add(-time.Hour), start.Add(24*time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func serialOf(key *ecdsa.PrivateKey) *big.Int {
	sum := sha256.Sum256(key.X.Bytes())
	return new(big.Int).SetBytes(sum[:8])
}

// authorityOf makes an authority; a nil issuer signs itself.
func authorityOf(t testing.TB, by *issuer, name string) *issuer {
	t.Helper()
	key := newKey(t)
	cert := by.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature}, key)
	return &issuer{t, cert, key}
}

// client makes a certificate of a client.
func (i *issuer) client(change func(*x509.Certificate)) *x509.Certificate {
	i.Helper()
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "web"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	if change != nil {
		change(cert)
	}
	return i.make(i, cert, newKey(i))
}

// revoke makes a revocation list.
func (i *issuer) revoke(change func(*x509.RevocationList), serials ...*big.Int) string {
	i.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: start.Add(-time.Hour), NextUpdate: start.Add(time.Hour)}
	for _, s := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: start})
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, i.cert, i.key)
	if err != nil {
		i.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

func pemOf(certs ...*x509.Certificate) string {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(out)
}

// mounted is a mount of the method.
type mounted struct{ *authtest.Mount }

func open(t testing.TB) *mounted {
	t.Helper()
	m := authtest.Open(t, Engine)
	m.With.Now = start
	return &mounted{m}
}

type fields = authtest.Fields

// trust writes an entry.
func (m *mounted) trust(name string, f fields) {
	m.Helper()
	m.Must(api.Write, "certs/"+name, f)
}

// login logs in; the answer is nil where it is refused.
func (m *mounted) login(peer ...*x509.Certificate) *api.Auth {
	m.Helper()
	a, err := m.Login("login", nil, peer...)
	if err != nil {
		if api.KindOf(err) != api.Invalid {
			m.Fatalf("login: %v", err)
		}
		return nil
	}
	return a
}

// want compares whether a login is let in, by any entry and by the one called a, where
// there is one: what finds an entry must not be what keeps a certificate out.
func (m *mounted) want(what string, in bool, peer ...*x509.Certificate) {
	m.Helper()
	if a := m.login(peer...); (a != nil) != in {
		m.Errorf("%s: let in: %v, want %v", what, a != nil, in)
	}
	if _, err := m.Do(api.Read, "certs/a", nil); err != nil {
		return
	}
	if _, err := m.Login("login", fields{"name": "a"}, peer...); (err == nil) != in {
		m.Errorf("%s, by name: %v, want to be let in: %v", what, err, in)
	}
}
