package cert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

func TestLogin(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	leaf := ca.client(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: text(t, "blue")}}
	})
	m.trust("Front", fields{"certificate": pemOf(ca.cert), "token_policies": "dev", "token_ttl": "1h", "allowed_metadata_extensions": "1.2.3.4,1.2.3.5"})
	a := m.login(leaf)
	if a == nil {
		t.Fatal("was refused")
	}
	want := map[string]string{"cert_name": "front", "common_name": "web", "serial_number": leaf.SerialNumber.String(), "subject_key_id": "",
		"authority_key_id": colons(ca.cert.SubjectKeyId), "1-2-3-4": "blue"}
	for k, v := range want {
		if a.Metadata[k] != v {
			t.Errorf("metadata %s is %q, want %q", k, a.Metadata[k], v)
		}
	}
	if len(a.Metadata) != len(want) || a.LoginRole != "front" || a.Alias.Name != "web" || a.Alias.Metadata != nil || a.DisplayName != "cert-front" || a.TTL != time.Hour || !a.Renewable {
		t.Errorf("answers %+v, alias %+v", a, a.Alias)
	}
	m.Must(api.Write, "config", fields{"enable_identity_alias_metadata": true})
	if a := m.login(leaf); a.Alias.Metadata["common_name"] != "web" {
		t.Errorf("the alias has no metadata")
	}
	if _, err := m.Login("login", fields{"name": "FRONT"}, leaf); err != nil {
		t.Errorf("by the entry's name: %v", err)
	}
	if _, err := m.Login("login", fields{"name": "back"}, leaf); api.KindOf(err) != api.Invalid || err.Error() != refused(nil).Error() {
		t.Errorf("by a name that is none: %v", err)
	}
}

func text(t testing.TB, s string) []byte {
	t.Helper()
	b, err := asn1.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhoIsLetIn(t *testing.T) {
	m, ca, other := open(t), authorityOf(t, nil, "ca"), authorityOf(t, nil, "other")
	middle, twin := authorityOf(t, ca, "middle"), authorityOf(t, nil, "ca")
	m.trust("a", fields{"certificate": pemOf(ca.cert)})
	server := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	past := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = start.Add(-2*time.Hour), start.Add(-time.Second) }
	future := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = start.Add(time.Second), start.Add(time.Hour) }
	m.want("its own", true, ca.client(nil))
	m.want("nothing", false)
	m.want("another authority's", false, other.client(nil))
	m.want("of an authority of the same name", false, twin.client(nil))
	m.want("for servers", false, ca.client(server))
	m.want("expired", false, ca.client(past))
	m.want("to come", false, ca.client(future))
	m.want("of an intermediate that is shown", true, middle.client(nil), middle.cert)
	m.want("of an intermediate that is not shown", false, middle.client(nil))
	m.want("beside what is trusted", false, other.client(nil), ca.client(nil), ca.cert)
	m.want("the authority's own", true, ca.cert)
	leaf := &issuer{t, ca.client(nil), newKey(t)}
	leaf.key = newKey(t)
	leaf.cert = ca.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, KeyUsage: x509.KeyUsageDigitalSignature}, leaf.key)
	m.want("of a client that issues", false, leaf.client(nil), leaf.cert)
	many := []*x509.Certificate{ca.client(nil)}
	for len(many) <= maxShown {
		many = append(many, ca.cert)
	}
	m.want("with too many others", false, many...)
	m.With.Now = start.Add(48 * time.Hour)
	m.want("once the authority has expired", false, ca.client(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = start, start.Add(96*time.Hour) }))
}

// Each rule alone can refuse.
func TestRules(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	spiffe := &url.URL{Scheme: "spiffe", Host: "x", Path: "/web"}
	leaf := ca.client(func(c *x509.Certificate) {
		c.DNSNames, c.EmailAddresses, c.URIs = []string{"a.example", "b.example"}, []string{"web@example"}, []*url.URL{spiffe}
		c.Subject.OrganizationalUnit = []string{"Ops", "Dev"}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: text(t, "blue:sky")}, {Id: asn1.ObjectIdentifier{1, 2, 4}, Value: []byte{4, 2, 0xab, 0xcd}}}
	})
	bare := ca.client(func(c *x509.Certificate) { c.Subject = pkix.Name{SerialNumber: "1"} })
	for _, c := range []struct {
		field, yes, no string
	}{
		{"allowed_names", "web", "we"}, {"allowed_names", "b.*", "spiffe*"}, {"allowed_names", "*@example", "Ops"},
		{"allowed_common_names", "w*", "WEB"}, {"allowed_dns_sans", "x,*.example", "web"}, {"allowed_email_sans", "web@*", "web"},
		{"allowed_uri_sans", "spiffe://x/*", "spiffe://y/*"}, {"allowed_organizational_units", "Dev", "Sec"},
		{"required_extensions", "1.2.3:blue:*", "1.2.3:red*"}, {"required_extensions", "1.2.3:*,hex:1.2.4:0402ABcd", "1.2.3:*,hex:1.2.4:0402abce"},
		{"required_extensions", "hex:1.2.4:*", "1.2.4:*"}, {"required_extensions", "1.2.3:*", "1.2.5:*"},
	} {
		m.trust("a", fields{"certificate": pemOf(ca.cert), c.field: c.yes})
		m.want(c.field+"="+c.yes, true, leaf)
		m.trust("a", fields{c.field: c.no})
		m.want(c.field+"="+c.no, false, leaf)
		m.trust("a", fields{c.field: []string{}})
	}
	for _, r := range []rules{{Names: []string{"*"}}, {CommonNames: []string{"*"}}, {DNS: []string{"*"}}, {Emails: []string{"*"}}, {URIs: []string{"*"}}, {Units: []string{"*"}}} {
		if r.met(bare) {
			t.Errorf("%+v is met by who has no names", r)
		}
	}
	m.want("without rules", true, leaf)
}

// The first entry by name that lets a certificate in is it.
func TestEntriesAreTriedInOrder(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	for _, name := range []string{"z", "x", "y"} {
		m.trust(name, fields{"certificate": pemOf(ca.cert), "allowed_common_names": map[bool]string{true: "else", false: "web"}[name == "x"]})
	}
	if a := m.login(ca.client(nil)); a == nil || a.Metadata["cert_name"] != "y" {
		t.Errorf("answers %+v", a)
	}
	m.Must(api.Delete, "certs/y", nil)
	other := authorityOf(t, nil, "other")
	m.trust("z", fields{"certificate": pemOf(other.cert)})
	m.want("an entry that is gone, and one that trusts another now", false, ca.client(nil))
	m.want("the other", true, other.client(nil))
}

// A certificate that is pinned is met by itself alone: another of the same number, issuer,
// subject and even key is another.
func TestCVE_2024_2048_PinnedCertificate(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	key := newKey(t)
	form := func() *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: "web"}, SerialNumber: big.NewInt(7), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	}
	pinned := ca.make(t, form(), key)
	m.trust("a", fields{"certificate": pemOf(pinned)})
	m.want("itself", true, pinned)
	forger := authorityOf(t, nil, "ca")
	forger.cert.SubjectKeyId = ca.cert.SubjectKeyId
	m.want("forged with the same names, number and issuer", false, forger.make(t, form(), newKey(t)))
	m.want("forged for the same key", false, forger.make(t, form(), key))
	m.want("the issuer's other", false, ca.make(t, form(), newKey(t)))
	m.want("the issuer's newer for the same key", false, ca.make(t, form(), key))
	m.With.Now = start.Add(25 * time.Hour)
	m.want("itself, expired", false, pinned)
}

// A pinned certificate is no authority, whatever its key has signed, and who logs in is
// named by the certificate that was pinned.
func TestCVE_2025_6037_PinnedIsNoAuthority(t *testing.T) {
	m, key := open(t), newKey(t)
	var none *issuer
	pinned := none.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: "web"}, SerialNumber: big.NewInt(7)}, key)
	m.trust("a", fields{"certificate": pemOf(pinned)})
	m.want("itself", true, pinned)
	forger := &issuer{t, pinned, key}
	admin := forger.client(func(c *x509.Certificate) { c.Subject.CommonName = "admin" })
	m.want("what it has issued", false, admin)
	m.want("what it has issued, beside it", false, admin, pinned)
	m.want("itself behind another", false, forger.client(nil), pinned)
	renamed := none.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: "admin"}, SerialNumber: big.NewInt(7)}, key)
	m.want("itself with another name", false, renamed)
	server := authorityOf(t, nil, "ca").client(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	if _, err := m.Do(api.Write, "certs/b", fields{"certificate": pemOf(server)}); api.KindOf(err) != api.Invalid {
		t.Errorf("a server's certificate was pinned: %v", err)
	}
}

// A token is renewed with the certificate that it was made for.
func TestCVE_2026_39388_RenewalWithAnother(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	m.trust("a", fields{"certificate": pemOf(ca.cert), "token_ttl": "1h"})
	leaf, other := ca.client(nil), ca.client(nil)
	a := m.login(leaf)
	renew := func(what string, allowed bool, peer ...*x509.Certificate) {
		t.Helper()
		if again, err := m.Renew(a, peer...); (err == nil) != allowed || allowed && again.TTL != time.Hour {
			t.Errorf("renewed %s: %v, %v", what, again, err)
		}
	}
	renew("with it", true, leaf)
	renew("with another of the same authority and name", false, other)
	renew("with another before it", false, other, leaf)
	renew("without one", false)
	m.Must(api.Write, "crls/a", fields{"crl": ca.revoke(nil, leaf.SerialNumber)})
	renew("revoked", false, leaf)
	m.Must(api.Write, "config", fields{"disable_binding": true})
	renew("with another, where none is needed", true, other)
	renew("without one, where none is needed", true)
	m.Must(api.Write, "config", fields{"disable_binding": false})
	m.Must(api.Delete, "crls/a", nil)
	m.trust("a", fields{"allowed_common_names": "else"})
	renew("where it is no longer let in", false, leaf)
	m.Must(api.Delete, "certs/a", nil)
	m.Must(api.Write, "config", fields{"disable_binding": true})
	renew("where the entry is gone", false, leaf)
}

// What a certificate is called gives nothing: only entries do.
func TestCVE_2018_16886_NamesGrantNothing(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	m.trust("web", fields{"certificate": pemOf(ca.cert), "allowed_common_names": "web", "token_policies": "dev"})
	for _, name := range []string{"root", "admin", "WEB", "web ", "web\x00"} {
		m.want(name, false, ca.client(func(c *x509.Certificate) { c.Subject.CommonName = name }))
	}
	if a := m.login(ca.client(nil)); a == nil || len(a.TokenPolicies) != 1 || a.TokenPolicies[0] != "dev" {
		t.Errorf("answers %+v", a)
	}
}

func TestWho(t *testing.T) {
	ca := authorityOf(t, nil, "ca")
	uri := &url.URL{Scheme: "spiffe", Host: "x"}
	for _, c := range []struct {
		name string
		make func(*x509.Certificate)
		want string
	}{
		{"common name", func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} }, "web"},
		{"URI", func(c *x509.Certificate) {
			c.Subject, c.URIs, c.DNSNames = pkix.Name{}, []*url.URL{uri}, []string{"a.example"}
		}, "san:spiffe://x"},
		{"DNS name", func(c *x509.Certificate) { c.Subject, c.DNSNames = pkix.Name{}, []string{"a.example"} }, "san:a.example"},
		{"mail address", func(c *x509.Certificate) { c.Subject, c.EmailAddresses = pkix.Name{}, []string{"a@b"} }, "san:a@b"},
		{"nothing", func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{"x"}} }, ""},
		{"common name like another's", func(c *x509.Certificate) { c.Subject.CommonName = "san:spiffe://x" }, ""},
		{"of lines", func(c *x509.Certificate) { c.Subject.CommonName = "a\nb" }, ""},
		{"long", func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("a", maxName+1) }, ""},
	} {
		got, err := who(ca.client(c.make))
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: is %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestEntriesAreJudged(t *testing.T) {
	m, ca := open(t), authorityOf(t, nil, "ca")
	good := pemOf(ca.cert)
	key := "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"
	for name, f := range map[string]fields{
		"no certificate": {}, "empty": {"certificate": ""}, "no PEM": {"certificate": "x"}, "with more": {"certificate": good + "more"},
		"with a key": {"certificate": good + key}, "many": {"certificate": strings.Repeat(good, maxAnchors+1)},
		"extension": {"certificate": good, "required_extensions": "1.2.3"}, "long OID": {"certificate": good, "required_extensions": "1" + strings.Repeat(".2", maxParts+1) + ":x"}, "no OID": {"certificate": good, "required_extensions": "a.b:c"},
		"metadata": {"certificate": good, "allowed_metadata_extensions": "hex:1.2.3"}, "empty pattern": {"certificate": good, "allowed_dns_sans": []string{" "}},
		"long pattern": {"certificate": good, "allowed_uri_sans": strings.Repeat("x", maxItem+1)}, "long list": {"certificate": good, "allowed_names": strings.Repeat("x,", maxItems) + "x"},
		"responder": {"certificate": good, "ocsp_ca_certificates": "x"}, "server": {"certificate": good, "ocsp_servers_override": "ldap://x"},
		"credentials": {"certificate": good, "ocsp_servers_override": "http://a:b@x"}, "retries": {"certificate": good, "ocsp_max_retries": 9},
		"root": {"certificate": good, "token_policies": "root"}, "age": {"certificate": good, "ocsp_this_update_max_age": -1},
	} {
		if _, err := m.Do(api.Write, "certs/a", f); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if k := m.Must(api.List, "certs", nil).(*api.Keys); len(k.Keys) != 0 {
		t.Errorf("%v is left", k.Keys)
	}
	m.trust("a", fields{"certificate": good, "policies": "Dev", "ttl": "90", "bound_cidrs": "10.0.0.0/8", "period": "1m", "display_name": "x"})
	m.trust("b", fields{"certificate": good})
	if c := m.Must(api.Read, "certs/b", nil).(*Cert); c.DisplayName != "b" { // what its logins are called
		t.Errorf("is called %q", c.DisplayName)
	}
	m.Must(api.Delete, "certs/b", nil)
	m.trust("a", fields{"max_ttl": 100, "certificate": nil})
	got := m.Must(api.Read, "certs/A", nil).(*Cert)
	if got.Certificate != good || got.DisplayName != "x" || got.TokenTTL.Seconds() != 90 || got.TokenMaxTTL.Seconds() != 100 || got.TokenPolicies[0] != "dev" || got.OCSPMaxRetries != 4 {
		t.Errorf("is read as %+v", got)
	}
	if _, err := m.Do(api.Read, "certs/b", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := m.Do(api.Write, "config", fields{"ocsp_cache_size": -2}); api.KindOf(err) != api.Invalid {
		t.Errorf("a size of -2: %v", err)
	}
	m.Must(api.Write, "config", fields{"ocsp_cache_size": 7})
	if c := m.Must(api.Read, "config", nil).(*Config); c.OCSPCacheSize != 7 || c.RoleCacheSize != 200 || c.DisableBinding {
		t.Errorf("is read as %+v", c)
	}
}
