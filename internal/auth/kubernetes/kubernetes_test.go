package kubernetes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

// furnished is a mount that asks a cluster, with a role for default/web.
func furnished(t *testing.T) (*mounted, *apiServer) {
	t.Helper()
	m, s := open(t), cluster0(t)
	m.configure(s, nil)
	m.Must(api.Write, "role/web", fields{"bound_service_account_names": "web", "bound_service_account_namespaces": "default", "token_policies": "dev", "token_ttl": "1h"})
	return m, s
}

// configure has a mount ask a cluster, with some fields changed.
func (m *mounted) configure(s *apiServer, f fields) {
	m.Helper()
	all := fields{"kubernetes_host": s.url, "kubernetes_ca_cert": s.ca, "token_reviewer_jwt": "re.view.er"}
	maps.Copy(all, f)
	m.Must(api.Write, "config", all)
}

func TestLogin(t *testing.T) {
	m, s := furnished(t)
	a, err := m.LoginBy("WEB", "a.b.c")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"service_account_name": "web", "service_account_namespace": "default", "service_account_uid": "u1", "service_account_secret_name": "", "role": "web"}
	for k, v := range want {
		if a.Metadata[k] != v {
			t.Errorf("metadata %s is %q, want %q", k, a.Metadata[k], v)
		}
	}
	if a.Alias.Name != "u1" || a.Alias.Metadata["service_account_name"] != "web" || a.Alias.Metadata["role"] != "" || a.DisplayName != "kubernetes-default-web" || a.TTL != time.Hour || len(s.observed.Audiences) != 0 {
		t.Errorf("answers %+v, alias %+v", a, a.Alias)
	}
	m.Must(api.Write, "role/web", fields{"alias_name_source": byName})
	if a, err := m.LoginBy("web", "a.b.c"); err != nil || a.Alias.Name != "default/web" {
		t.Errorf("alias by name: %+v, %v", a, err)
	}
}

// Nobody is told why, and who is not let in is asked about all the same.
func TestWhoIsNotLetIn(t *testing.T) {
	m, s := furnished(t)
	for name, change := range map[string]func(a *tokenReview){
		"not authenticated":       func(a *tokenReview) { a.Status.Authenticated = false },
		"with an error":           func(a *tokenReview) { a.Status.Error = "x" },
		"another kind":            func(a *tokenReview) { a.Kind = "Status" },
		"another version":         func(a *tokenReview) { a.Version = "v1" },
		"no service account":      func(a *tokenReview) { a.Status.User.Username = "default:web" },
		"a user":                  func(a *tokenReview) { a.Status.User.Username = "web" },
		"without a group":         func(a *tokenReview) { a.Status.User.Groups = nil },
		"without a uid":           func(a *tokenReview) { a.Status.User.UID = "" },
		"another name":            func(a *tokenReview) { a.Status.User.Username = userPrefix + "default:web2" },
		"another namespace":       func(a *tokenReview) { a.Status.User.Username = userPrefix + "kube-system:web" },
		"with more behind":        func(a *tokenReview) { a.Status.User.Username = userPrefix + "default:web:x" },
		"with capitals":           func(a *tokenReview) { a.Status.User.Username = userPrefix + "default:Web" },
		"of no namespace":         func(a *tokenReview) { a.Status.User.Username = userPrefix + ":web" },
		"of a namespace with a /": func(a *tokenReview) { a.Status.User.Username = userPrefix + "a/b:web" },
	} {
		s.tokens["a.b.c"] = known("web", "default")
		change(s.tokens["a.b.c"])
		if _, err := m.LoginBy("web", "a.b.c"); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.tokens["a.b.c"] = known("web", "default")
	before := s.asked
	for role, token := range map[string]string{"none": "a.b.c", "web": "x.y.z"} {
		if _, err := m.LoginBy(role, token); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
			t.Errorf("%s, %s: %v", role, token, err)
		}
	}
	if s.asked != before+2 {
		t.Errorf("was asked %d times, want twice: the time tells whether there is a role", s.asked-before)
	}
	before = s.asked
	for _, token := range []string{"a", "a.b", "a..c", "a.b.c.d", "a.b.c\n", "a.b.c&x", strings.Repeat("a", maxToken) + ".b.c"} {
		if _, err := m.LoginBy("web", token); api.KindOf(err) != api.Denied {
			t.Errorf("%.10q: %v", token, err)
		}
	}
	if s.asked != before {
		t.Error("what is no token was sent to the cluster")
	}
}

func TestAudience(t *testing.T) {
	m, s := furnished(t)
	m.Must(api.Write, "role/web", fields{"audience": "vault"})
	for name, c := range map[string]struct {
		audiences []string
		in        bool
	}{"the role's": {[]string{"x", "vault"}, true}, "another": {[]string{"https://kubernetes.default.svc"}, false}, "none": {nil, false}, "with capitals": {[]string{"Vault"}, false}, "longer": {[]string{"vault2"}, false}} {
		s.tokens["a.b.c"].Status.Audiences = c.audiences
		if _, err := m.LoginBy("web", "a.b.c"); (err == nil) != c.in {
			t.Errorf("%s: %v", name, err)
		}
		if len(s.observed.Audiences) != 1 || s.observed.Audiences[0] != "vault" {
			t.Errorf("the cluster was asked for the audiences %v", s.observed.Audiences)
		}
	}
}

// Which account and namespace a role means, with labels of the namespace besides.
func TestBounds(t *testing.T) {
	m, s := furnished(t)
	for _, c := range []struct {
		names, namespaces, selector string
		labels                      map[string]string
		in                          bool
	}{
		{"web", "default", "", nil, true}, {"w*", "*", "", nil, true}, {"*", "def*", "", nil, true}, {"x,web", "y,default", "", nil, true},
		{"we", "default", "", nil, false}, {"web", "defaul", "", nil, false}, {"x*", "*", "", nil, false}, {"*", "kube-*", "", nil, false},
		{"web", "other", `{"matchLabels":{"team":"red"}}`, map[string]string{"team": "red", "x": "y"}, true},
		{"web", "", "matchLabels:\n  team: red\n", map[string]string{"team": "red"}, true},
		{"web", "", `{"matchLabels":{"team":"red","tier":"1"}}`, map[string]string{"team": "red"}, false},
		{"web", "", `{"matchLabels":{"team":"red"}}`, map[string]string{"team": "blue"}, false},
		{"web", "", `{"matchLabels":{"team":"red"}}`, nil, false}, {"web", "", `{"matchLabels":{"team":""}}`, nil, false},
		{"other", "", `{"matchLabels":{"team":"red"}}`, map[string]string{"team": "red"}, false},
	} {
		s.labels = c.labels
		m.Must(api.Delete, "role/web", nil)
		f := fields{"bound_service_account_names": c.names, "bound_service_account_namespace_selector": c.selector}
		if c.namespaces != "" {
			f["bound_service_account_namespaces"] = c.namespaces
		}
		m.Must(api.Write, "role/web", f)
		if _, err := m.LoginBy("web", "a.b.c"); (err == nil) != c.in || err != nil && api.KindOf(err) != api.Denied {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// What can be no name in a cluster is nobody, also for a role that lets anybody in.
func TestNames(t *testing.T) {
	m, s := furnished(t)
	m.Must(api.Write, "role/web", fields{"bound_service_account_names": "*", "bound_service_account_namespaces": "*"})
	for user, in := range map[string]bool{"default:web": true, "a-b:c.d": true, ":web": false, "default:": false, "a/b:web": false, "default:a/b": false, "default:..": false, "default:Web": false, "default:a b": false, "default:a:b": false, "default": false} {
		s.tokens["a.b.c"].Status.User.Username = userPrefix + user
		if _, err := m.LoginBy("web", "a.b.c"); (err == nil) != in {
			t.Errorf("%s: %v", user, err)
		}
	}
}

// A row that says nothing lets nobody in.
func TestEmptyRoleLetsNobodyIn(t *testing.T) {
	if err := (&role{}).lets(nil, nil, "", &account{"default", "web", "u"}); err == nil {
		t.Error("lets somebody in")
	}
}

// Without a token of its own the server asks with the one that logs in; with one, never.
func TestWhoAsks(t *testing.T) {
	m, s := furnished(t)
	s.bearers = []string{"a.b.c"}
	if _, err := m.LoginBy("web", "a.b.c"); api.KindOf(err) != api.Denied {
		t.Errorf("was asked with the client's token: %v", err)
	}
	m.configure(s, fields{"token_reviewer_jwt": ""})
	if _, err := m.LoginBy("web", "a.b.c"); err != nil {
		t.Errorf("with the client's token: %v", err)
	}
}

func TestClusterThatDoesNotAnswer(t *testing.T) {
	m, s := furnished(t)
	for status, kind := range map[int]api.Kind{500: api.Unavailable, 302: api.Unavailable, 429: api.Unavailable, 401: api.Denied, 403: api.Denied} {
		s.status = status
		if _, err := m.LoginBy("web", "a.b.c"); api.KindOf(err) != kind {
			t.Errorf("status %d: %v", status, err)
		}
	}
	s.status, s.raw = 0, "{"
	if _, err := m.LoginBy("web", "a.b.c"); api.KindOf(err) != api.Denied {
		t.Errorf("no JSON: %v", err)
	}
	other := cluster0(t)
	m.configure(s, fields{"kubernetes_ca_cert": other.ca, "kubernetes_host": strings.Replace(s.url, "127.0.0.1", "localhost", 1)})
	if _, err := m.LoginBy("web", "a.b.c"); api.KindOf(err) != api.Unavailable || s.asked != 6 {
		t.Errorf("with another name: %v", err)
	}
	if _, err := open(t).LoginBy("web", "a.b.c"); api.KindOf(err) != api.Invalid {
		t.Errorf("not configured: %v", err)
	}
}

// Where the operator gives keys, one of them must have signed the token.
func TestKeys(t *testing.T) {
	m, s := furnished(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(`{"iss":"kubernetes/serviceaccount"}`))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	s.tokens[token] = known("web", "default")
	hmac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	confused, err := hmac.Sign([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := confused.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	s.tokens[forged] = known("web", "default")
	m.configure(s, fields{"pem_keys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}})
	for name, c := range map[string]struct {
		token string
		in    bool
	}{"signed": {token, true}, "changed": {token[:len(token)-4] + "AAAA", false}, "by no key": {"a.b.c", false}, "with the public key as a secret": {forged, false}} {
		before := s.asked
		if _, err := m.LoginBy("web", c.token); (err == nil) != c.in {
			t.Errorf("%s: %v", name, err)
		}
		if !c.in && s.asked != before {
			t.Errorf("%s: the cluster was asked", name)
		}
	}
}

func TestAnnotations(t *testing.T) {
	m, s := furnished(t)
	m.configure(s, fields{"use_annotations_as_alias_metadata": true})
	const prefix = "vault.hashicorp.com/alias-metadata-"
	s.notes = map[string]string{prefix + "team": "red", "other": "x", prefix + "service_account_name": "root", prefix + "long": strings.Repeat("x", maxItem+1)}
	a, err := m.LoginBy("web", "a.b.c")
	if err != nil || a.Alias.Metadata["team"] != "red" || a.Alias.Metadata["service_account_name"] != "web" || len(a.Alias.Metadata) != 5 || a.Metadata["team"] != "" {
		t.Errorf("alias %+v, %v", a, err)
	}
	s.uid = "u2" // it was made anew since
	if _, err := m.LoginBy("web", "a.b.c"); api.KindOf(err) != api.Denied {
		t.Errorf("annotations of another account: %v", err)
	}
}

func TestRenew(t *testing.T) {
	m, s := furnished(t)
	a, err := m.LoginBy("web", "a.b.c")
	if err != nil || a.TTL != time.Hour {
		t.Fatal(a, err)
	}
	m.Renews(a, "as it was", true)
	m.Must(api.Write, "role/web", fields{"bound_service_account_namespaces": "other"})
	m.Renews(a, "where the role lets it in no more", false)
	s.labels = map[string]string{"team": "red"}
	m.Must(api.Write, "role/web", fields{"bound_service_account_namespace_selector": `{"matchLabels":{"team":"red"}}`})
	m.Renews(a, "by the namespace's labels", true)
	s.labels = nil
	m.Renews(a, "without the namespace's labels", false)
	m.configure(s, fields{"token_reviewer_jwt": ""})
	m.Renews(a, "where the labels cannot be asked for", false)
	m.Must(api.Delete, "role/web", nil)
	m.Renews(a, "where the role is gone", false)
	if _, err := m.Engine.Renew(m.Call(), &api.Session{}); err == nil {
		t.Error("renewed of nothing")
	}
}

// What a cluster could not be asked with is refused when it is written, by the field's name and without what was in it.
func TestConfigurationThatCannotBe(t *testing.T) {
	m := open(t)
	for _, c := range []struct{ field, value, says string }{
		{"kubernetes_host", "http://k8s.example", "must be HOST"}, {"kubernetes_host", "https://", "must be HOST"}, {"kubernetes_host", "https://k8s.example:https", "must be HOST"}, {"kubernetes_host", "k8s.example:99999", "must be HOST"},
		{"kubernetes_host", "k8s example", "must be HOST"}, {"kubernetes_host", "https://k8s.example/#top", "must be HOST"}, {"kubernetes_host", "https://k8s.example?x", "must be HOST"},
		{"kubernetes_ca_cert", "ca-file.crt", "in PEM"}, {"kubernetes_ca_cert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "in PEM"},
		{"pem_keys", "key-file.pub", "in PEM"}, {"token_reviewer_jwt", "hush hush", "one token"},
	} {
		_, err := m.Do(api.Write, "config", authtest.Changed(fields{"kubernetes_host": "https://k8s.example"}, fields{c.field: c.value}))
		if api.KindOf(err) != api.Invalid || !strings.HasPrefix(err.Error(), c.field+": ") || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "example") || strings.Contains(err.Error(), "-file") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s of %q: %v", c.field, c.value, err)
		}
	}
	m.Invalid("login", fields{"role": "r", "jwt": "a.b.c"}, "it does not know which cluster to ask; write its configuration to auth/kubernetes/config")
}

func TestWhatIsKept(t *testing.T) {
	m, s := furnished(t)
	conf := m.Must(api.Read, "config", nil).(*Config)
	if conf.Host != s.url || conf.CA != s.ca || !conf.ReviewerSet || !conf.NoIssuer || conf.Keys == nil {
		t.Errorf("is read as %+v", conf)
	}
	bad := map[string]fields{"host": {"kubernetes_host": "http://10.0.0.1"}, "user": {"kubernetes_host": "https://a:b@c"}, "query": {"kubernetes_host": "https://a?b"}, "empty": {"kubernetes_host": ""},
		"scheme": {"kubernetes_host": "ftp://a"}, "ca": {"kubernetes_ca_cert": "x"}, "reviewer": {"token_reviewer_jwt": "a b"}, "key": {"pem_keys": "x"}}
	for name, f := range bad {
		if f["kubernetes_host"] == nil {
			f["kubernetes_host"] = s.url
		}
		if _, err := m.Do(api.Write, "config", f); api.KindOf(err) != api.Invalid {
			t.Errorf("config, %s: %v", name, err)
		}
	}
	if _, err := open(t).Do(api.Write, "config", fields{"issuer": "x"}); api.KindOf(err) != api.Invalid {
		t.Errorf("without a host: %v", err)
	}
	if _, err := open(t).Do(api.Read, "config", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("no configuration: %v", err)
	}
	for host, want := range map[string]string{"k8s": "https://k8s", "k8s:6443": "https://k8s:6443", "https://k8s/base/": "https://k8s/base", "http://[::1]:8001": "http://[::1]:8001", "http://localhost": "http://localhost"} {
		if got, err := apiURL(host); got != want || err != nil {
			t.Errorf("%s: %s, %v", host, got, err)
		}
	}
	for name, f := range map[string]fields{"no names": {"bound_service_account_namespaces": "a"}, "no namespaces": {"bound_service_account_names": "a"}, "star": {"bound_service_account_names": "*,a", "bound_service_account_namespaces": "a"},
		"empty": {"bound_service_account_names": []string{""}, "bound_service_account_namespaces": "a"}, "alias": {"bound_service_account_names": "a", "bound_service_account_namespaces": "a", "alias_name_source": "x"},
		"selector": {"bound_service_account_names": "a", "bound_service_account_namespace_selector": "{}"}, "expressions": {"bound_service_account_names": "a", "bound_service_account_namespace_selector": `{"matchLabels":{"a":"b"},"matchExpressions":[]}`},
		"root": {"bound_service_account_names": "a", "bound_service_account_namespaces": "a", "policies": "root"}} {
		if _, err := m.Do(api.Write, "role/x", f); api.KindOf(err) != api.Invalid {
			t.Errorf("role, %s: %v", name, err)
		}
	}
	if r := m.Must(api.Read, "role/Web", nil).(*Role); r.Alias != byUID || r.Names[0] != "web" || r.TokenTTL.Seconds() != 3600 {
		t.Errorf("is read as %+v", r)
	}
	if k := m.Must(api.List, "role", nil).(*api.Keys); len(k.Keys) != 1 {
		t.Errorf("listed: %v", k.Keys)
	}
}

// What the pod knows stands in for what is not said.
func TestLocal(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"ca.crt": "pem", "token": "t.o.k\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		have, want cluster
		tenant     bool
	}{
		{have: cluster{}, want: cluster{CA: "pem", Reviewer: "t.o.k"}},
		{have: cluster{CA: "x"}, want: cluster{CA: "x", Reviewer: "t.o.k"}},
		{have: cluster{Reviewer: "y"}, want: cluster{CA: "pem", Reviewer: "y"}},
		{have: cluster{NoLocal: true}},
		{have: cluster{Host: "https://h"}, want: cluster{CA: "pem", Reviewer: "t.o.k"}, tenant: true},
		{have: cluster{Host: "https://h", CA: "pem\n"}, want: cluster{CA: "pem\n", Reviewer: "t.o.k"}, tenant: true},
		{have: cluster{Host: "http://127.0.0.1:1"}, want: cluster{CA: "pem"}, tenant: true}, // nobody vouches for who listens there
		{have: cluster{Host: "https://h", CA: "x"}, want: cluster{CA: "x"}, tenant: true},   // whoever the tenant trusts would have it
		{have: cluster{CA: "x", Reviewer: "y"}, want: cluster{CA: "x", Reviewer: "y"}, tenant: true},
	} {
		if err := c.have.local(dir, c.tenant); err != nil || c.have.CA != c.want.CA || c.have.Reviewer != c.want.Reviewer {
			t.Errorf("%+v, %v; want %+v", c.have, err, c.want)
		}
	}
	for _, tenant := range []bool{true, false} {
		if k := (cluster{}); k.local(filepath.Join(dir, "none"), tenant) != nil || k.CA != "" || k.Reviewer != "" {
			t.Error("elsewhere than in a pod")
		}
	}
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if k := (cluster{Host: "https://h"}); k.local(dir, true) != nil || k.Reviewer != "" {
		t.Error("the pod's token goes to whoever the system's authorities vouch for")
	}
}

// Who runs a namespace below the root is a tenant.
func TestTenants(t *testing.T) {
	for path, want := range map[string]bool{"": false, "team/": true} {
		if got := isTenant(&api.Call{Namespace: api.Namespace{ID: "x", Path: path}}); got != want {
			t.Errorf("of %q: %v", path, got)
		}
	}
}

func FuzzSelector(f *testing.F) {
	for _, s := range []string{`{"matchLabels":{"a":"b"}}`, "matchLabels:\n  a: b\n", "a: &a [*a]", "{}", "- x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if labels, err := parseSelector(text); err == nil && len(labels) == 0 {
			t.Errorf("%q selects everything", text)
		}
	})
}

func FuzzReview(f *testing.F) {
	f.Add(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":true,"user":{"username":"system:serviceaccount:a:b","uid":"u","groups":["system:serviceaccounts"]}}}`, "")
	f.Fuzz(func(t *testing.T, text, audience string) {
		var a tokenReview
		if json.Unmarshal([]byte(text), &a) != nil {
			return
		}
		who, err := a.account(audience)
		if err == nil && (!label(who.Name) || !label(who.Namespace) || who.UID == "") {
			t.Errorf("%q is %+v", text, who)
		}
	})
}
