package cert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

func TestRevocationLists(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	middle, twin := authorityOf(t, ca, "middle"), authorityOf(t, nil, "ca")
	m.trust("a", fields{"certificate": pemOf(ca.cert)})
	good, bad := ca.client(nil), ca.client(nil)
	put := func(by *issuer, change func(*x509.RevocationList), serials ...*big.Int) {
		t.Helper()
		m.Must(api.Write, "crls/x", fields{"crl": by.revoke(change, serials...)})
	}
	put(ca, nil, bad.SerialNumber)
	m.want("not revoked", true, good)
	m.want("revoked", false, bad)
	put(middle, nil, bad.SerialNumber)
	m.want("of another issuer's list", true, bad)
	put(twin, nil, bad.SerialNumber)
	m.want("of the list of an authority of the same name", true, bad)
	put(twin, func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Value: keyID(t, ca.cert.SubjectKeyId)}}
	})
	m.want("of a list that says it is the issuer's, and is not", false, good)
	put(ca, func(l *x509.RevocationList) { l.NextUpdate = start.Add(-time.Second) })
	m.want("of a list that has expired", false, good)
	below := middle.client(nil)
	put(ca, nil, middle.cert.SerialNumber)
	m.want("of an intermediate that is revoked", false, below, middle.cert)
	m.want("beside an intermediate that is revoked", true, good)
	m.Must(api.Delete, "crls/x", nil)
	m.want("once the list is gone", true, below, middle.cert)
	m.Must(api.Delete, "crls/x", nil)
}

// keyID is the value of the extension that names an issuer's key.
func keyID(t testing.TB, id []byte) []byte {
	t.Helper()
	b, err := asn1.Marshal(struct {
		ID []byte `asn1:"tag:0"`
	}{id})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A certificate that is pinned is revoked by its issuer too.
func TestPinnedIsRevoked(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	leaf := ca.client(nil)
	m.trust("a", fields{"certificate": pemOf(leaf)})
	m.Must(api.Write, "crls/x", fields{"crl": ca.revoke(nil)})
	m.want("not revoked", true, leaf)
	m.Must(api.Write, "crls/x", fields{"crl": ca.revoke(nil, leaf.SerialNumber)})
	m.want("revoked", false, leaf)
}

// A list of changes adds to what is revoked. What it takes back stays revoked while the
// full list has it.
func TestDeltaLists(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	m.trust("a", fields{"certificate": pemOf(ca.cert)})
	one, two := ca.client(nil), ca.client(nil)
	delta := func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: oidDelta, Critical: true, Value: []byte{2, 1, 1}}}
		for i := range l.RevokedCertificateEntries {
			if l.RevokedCertificateEntries[i].SerialNumber.Cmp(one.SerialNumber) == 0 {
				l.RevokedCertificateEntries[i].ReasonCode = removedFromCRL
			}
		}
	}
	m.Must(api.Write, "crls/delta", fields{"crl": ca.revoke(delta, one.SerialNumber, two.SerialNumber)})
	m.want("taken back", true, one)
	m.want("revoked by the changes", false, two)
	m.Must(api.Write, "crls/full", fields{"crl": ca.revoke(nil, one.SerialNumber)})
	m.want("taken back, and in the full list", false, one)
	m.Must(api.Write, "crls/full", fields{"crl": ca.revoke(func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = removedFromCRL }, one.SerialNumber)})
	m.want("taken back by a full list, which cannot be", false, one)
}

func TestListsAreJudged(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	good := ca.revoke(nil, big.NewInt(5))
	scope := func(critical bool, value ...byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidScope, Critical: critical, Value: value}}
		}
	}
	for name, f := range map[string]fields{
		"nothing": {}, "both": {"crl": good, "url": "http://x"}, "no list": {"crl": "x"}, "a certificate": {"crl": pemOf(ca.cert)}, "two": {"crl": good + good},
		"no URL": {"url": "ldap://x"}, "nobody there": {"url": "http://127.0.0.1:1/x"},
		"to come": {"crl": ca.revoke(func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = start.Add(time.Hour), start.Add(2*time.Hour)
		})},
		"indirect": {"crl": ca.revoke(scope(true, 0x30, 3, 0x84, 1, 0xff))}, "scope": {"crl": ca.revoke(scope(true, 0x30, 3))},
		"unknown": {"crl": ca.revoke(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2}, Critical: true, Value: []byte{5, 0}}}
		})},
	} {
		if _, err := m.Do(api.Write, "crls/a", f); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	m.Must(api.Write, "crls/A", fields{"crl": ca.revoke(scope(true, 0x30, 3, 0x81, 1, 0xff), big.NewInt(5))}) // of certificates that issue nothing
	a := m.Must(api.Read, "crls/a", nil).(*CRL)
	if _, ok := a.Serials["5"]; !ok || len(a.Serials) != 1 || a.CDP != nil {
		t.Errorf("is read as %+v", a)
	}
	if _, err := m.Do(api.Read, "crls/b", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("one that is not there: %v", err)
	}
	if k := m.Must(api.List, "crls", nil).(*api.Keys); len(k.Keys) != 1 || k.Keys[0] != "a" {
		t.Errorf("listed: %v", k.Keys)
	}
}

// publisher serves a list; an empty one is a failure.
func publisher(t *testing.T, list *string, asked *int) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*asked++
		if *list == "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		der, _ := pem.Decode([]byte(*list))
		if _, err := w.Write(der.Bytes); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// A list lasts: who was revoked is refused by the first login after a start, whether or
// not the list can be fetched, and once it has expired nobody is let in.
func TestCVE_2022_41316_ListsLast(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	m.trust("a", fields{"certificate": pemOf(ca.cert)})
	good, bad := ca.client(nil), ca.client(nil)
	text, asked := ca.revoke(nil, bad.SerialNumber), 0
	s := publisher(t, &text, &asked)
	m.Must(api.Write, "crls/x", fields{"url": s.URL})
	if a := m.Must(api.Read, "crls/x", nil).(*CRL); a.CDP == nil || a.CDP.URL != s.URL || !a.CDP.ValidUntil.Equal(start.Add(time.Hour)) {
		t.Errorf("is read as %+v", a.CDP)
	}
	text = ""
	again := open(t) // a node that has just started
	again.With.Store = m.With.Store
	again.want("revoked", false, bad)
	again.want("not revoked", true, good)
	if asked != 1 {
		t.Errorf("was asked %d times, want once", asked)
	}
	again.With.Now = start.Add(time.Hour)
	again.want("when it is time and nobody answers", true, good)
	again.want("revoked, likewise", false, bad)
	if asked != 2 {
		t.Errorf("was asked %d times, want twice: a failure is remembered for a while", asked)
	}
	again.With.Now = start.Add(time.Hour + time.Minute)
	again.want("once it has expired", false, good)
	text = ca.revoke(func(l *x509.RevocationList) { l.Number, l.NextUpdate = big.NewInt(2), start.Add(9*time.Hour) }, good.SerialNumber)
	again.With.Now = start.Add(time.Hour + 2*time.Minute)
	again.want("revoked by the list that came", false, good)
	again.want("no longer in the list that came", true, bad)
}

// A list that came in the clear is believed as far as somebody who is known has signed it.
func TestListsInTheClearAreProved(t *testing.T) {
	m, ca, twin := open(t), authorityOf(t, nil, "ca"), authorityOf(t, nil, "ca")
	middle := authorityOf(t, ca, "middle")
	m.trust("a", fields{"certificate": pemOf(ca.cert)})
	numbered := func(by *issuer, n int64, serials ...*big.Int) string {
		return by.revoke(func(l *x509.RevocationList) { l.Number, l.NextUpdate = big.NewInt(n), start.Add(100*time.Hour) }, serials...)
	}
	good, bad := middle.client(nil), middle.client(nil)
	named := func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Value: keyID(t, ca.cert.SubjectKeyId)}}
	}
	text, asked := twin.revoke(named), 0
	s := publisher(t, &text, &asked)
	m.Invalid("crls/x", fields{"url": s.URL}, "not signed by the authority that it names")
	if _, err := m.Do(api.Read, "crls/x", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("a forged list is kept: %v", err)
	}
	text = numbered(ca, 1)
	m.Must(api.Write, "crls/x", fields{"url": s.URL})
	if len(m.Warnings) > 0 {
		t.Errorf("of a list of an authority that is known: %q", m.Warnings)
	}
	text = numbered(authorityOf(t, nil, "middle"), 1000) // nobody can tell
	m.Must(api.Write, "crls/y", fields{"url": s.URL})
	if w := strings.Join(m.Warnings, "\n"); !strings.Contains(w, "came over http") || !strings.Contains(w, "CN=middle") {
		t.Errorf("of a list of an authority that nobody knows: %q", w)
	}
	m.trust("pinned", fields{"certificate": pemOf(good)})
	pinned := func(what string, want bool) {
		t.Helper()
		if _, err := m.Login("login", fields{"name": "pinned"}, good); (err == nil) != want {
			t.Errorf("pinned, %s: %v", what, err)
		}
	}
	pinned("beside a list that may be forged", false)
	m.want("beside a list that is forged", false, bad, middle.cert)
	text = numbered(middle, 2, bad.SerialNumber)
	m.With.Now = m.With.Now.Add(refetchEvery)
	m.want("not revoked by the list that took the forged one's place", true, good, middle.cert)
	m.want("revoked by it", false, bad, middle.cert)
	pinned("once the list is proved", true)
}

// A list that is fetched takes the place of another only where it is its successor.
func TestWhatSucceeds(t *testing.T) {
	m, ca, twin := open(t), authorityOf(t, nil, "ca"), authorityOf(t, nil, "ca")
	m.trust("a", fields{"certificate": pemOf(ca.cert)})
	good, bad := ca.client(nil), ca.client(nil)
	numbered := func(n int64) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.Number, l.NextUpdate = big.NewInt(n), start.Add(100*time.Hour) }
	}
	text, asked := ca.revoke(numbered(5), bad.SerialNumber), 0
	s := publisher(t, &text, &asked)
	m.Must(api.Write, "crls/x", fields{"url": s.URL})
	forged := func(l *x509.RevocationList) {
		numbered(9)(l)
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Value: keyID(t, ca.cert.SubjectKeyId)}}
	}
	for name, next := range map[string]string{
		"older": ca.revoke(numbered(4)), "of another": authorityOf(t, nil, "other").revoke(numbered(9)), "of the same name": twin.revoke(numbered(9)), "forged": twin.revoke(forged),
		"garbage": string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("x")})),
		"large":   string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte(strings.Repeat("x", maxCRL+1))})),
	} {
		text = next
		m.With.Now = m.With.Now.Add(refetchEvery)
		before := asked
		m.want(name+": revoked", false, bad)
		m.want(name+": not revoked", true, good)
		if asked != before+1 {
			t.Errorf("%s: was asked %d times", name, asked-before)
		}
	}
	text = ca.revoke(numbered(5))
	m.With.Now = m.With.Now.Add(refetchEvery)
	m.want("the same number, anew", true, bad)
}
