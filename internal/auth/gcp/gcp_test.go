package gcp

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/jws"
)

func TestAccountLogsIn(t *testing.T) {
	m, g := furnished(t)
	a, err := m.LoginBy("own", sign(t, byAccount, ownClaims(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if a.Alias.Name != email || a.Metadata["project_id"] != "shop-1" || a.Metadata["role"] != "own" || a.TTL != time.Hour || a.DisplayName != "gcp-"+email {
		t.Errorf("answers %+v, alias %+v", a, a.Alias)
	}
	m.Must(api.Write, "config", fields{"iam_alias": "role_id"})
	if a, err := m.LoginBy("own", sign(t, byAccount, ownClaims(nil))); err != nil || a.Alias.Name != m.Must(api.Read, "role/own", nil).(*Role).ID {
		t.Errorf("by the role: %+v, %v", a, err)
	}
	for _, path := range g.asked {
		if path != "/service_accounts/v1/jwk/"+email {
			t.Errorf("%s was asked for", path)
		}
	}
}

// What is not the account's own word, or not for this role, or lives too long.
func TestAccountIsRefused(t *testing.T) {
	m, g := furnished(t)
	for name, token := range map[string]string{
		"another's key":         sign(t, byGoogle, ownClaims(nil)),
		"another account":       sign(t, byAccount, ownClaims(fields{"sub": "db@shop-1.iam.gserviceaccount.com"})),
		"no account":            sign(t, byAccount, ownClaims(fields{"sub": "ann@example.com"})),
		"a path":                sign(t, byAccount, ownClaims(fields{"sub": "../../x@shop-1.iam.gserviceaccount.com"})),
		"an address":            sign(t, byAccount, ownClaims(fields{"sub": "https://evil.example/" + email})),
		"another issuer":        sign(t, byAccount, ownClaims(fields{"iss": "db@shop-1.iam.gserviceaccount.com"})),
		"another role":          sign(t, byAccount, ownClaims(fields{"aud": "vault/vm"})),
		"an audience that ends": sign(t, byAccount, ownClaims(fields{"aud": "xvault/own"})),
		"no audience":           sign(t, byAccount, ownClaims(fields{"aud": nil})),
		"for Google":            sign(t, byAccount, ownClaims(fields{"aud": "https://storage.googleapis.com/"})),
		"no end":                sign(t, byAccount, ownClaims(fields{"exp": nil, "iat": authtest.Epoch.Unix()})),
		"a late end":            sign(t, byAccount, ownClaims(fields{"exp": authtest.Epoch.Add(20 * time.Minute).Unix()})),
		"ended":                 sign(t, byAccount, ownClaims(fields{"exp": authtest.Epoch.Add(-2 * time.Minute).Unix()})),
		"from later":            sign(t, byAccount, ownClaims(fields{"iat": authtest.Epoch.Add(5 * time.Minute).Unix()})),
		"Google's in its name":  sign(t, byAccount, vmClaims(fields{"aud": "vault/own"}, nil)),
	} {
		if a, err := m.LoginBy("own", token); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for _, path := range g.asked {
		if !strings.HasPrefix(path, "/service_accounts/v1/jwk/") && path != "/oauth2/v3/certs" || strings.Contains(path, "..") || strings.Contains(path, "evil") {
			t.Errorf("a token had %s asked for", path)
		}
	}
	good := sign(t, byAccount, ownClaims(fields{"exp": authtest.Epoch.Add(50 * time.Minute).Unix(), "iat": authtest.Epoch.Unix()}))
	m.Must(api.Write, "role/own", fields{"max_jwt_exp": "1h"})
	if _, err := m.LoginBy("own", good); err != nil {
		t.Errorf("a role that takes longer ones: %v", err)
	}
	if _, err := m.LoginBy("none", good); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
		t.Errorf("a role that is none: %v", err)
	}
	g.status = 503
	if _, err := m.LoginBy("own", good); api.KindOf(err) != api.Unavailable {
		t.Errorf("a Google that is out of order: %v", err)
	}
}

func TestInstanceLogsIn(t *testing.T) {
	m, g := furnished(t)
	for range 5 {
		a, err := m.LoginBy("vm", sign(t, byGoogle, vmClaims(nil, nil)))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{"project_id": "shop-1", "project_number": "739419398126", "zone": "europe-west3-a", "instance_id": "152986662232938449",
			"instance_name": "web-1", "service_account_email": email, "service_account_id": id, "role": "vm"} {
			if a.Metadata[k] != v {
				t.Errorf("metadata %s is %q", k, a.Metadata[k])
			}
		}
		if a.Alias.Name != id || a.DisplayName != "gcp-web-1" {
			t.Errorf("alias %+v, %s", a.Alias, a.DisplayName)
		}
	}
	if len(g.asked) != 1 {
		t.Errorf("Google was asked %d times for its keys", len(g.asked))
	}
	for alias, want := range map[string]string{"instance_id": "152986662232938449", "role_id": m.Must(api.Read, "role/vm", nil).(*Role).ID} {
		m.Must(api.Write, "config", fields{"gce_alias": alias})
		if a, err := m.LoginBy("vm", sign(t, byGoogle, vmClaims(nil, nil))); err != nil || a.Alias.Name != want {
			t.Errorf("%s: %+v, %v", alias, a, err)
		}
	}
	m.Must(api.Write, "config", fields{"gce_metadata": []string{"zone"}, "iam_metadata": []string{"role", "project_id"}})
	for name, token := range map[string]string{"vm": sign(t, byGoogle, vmClaims(nil, nil)), "own": sign(t, byAccount, ownClaims(nil))} {
		want := map[string]map[string]string{"vm": {"zone": "europe-west3-a"}, "own": {"role": "own", "project_id": "shop-1"}}[name]
		if a, err := m.LoginBy(name, token); err != nil || !maps.Equal(a.Alias.Metadata, want) || len(a.Metadata) < 3 {
			t.Errorf("%s: %+v, alias %+v, %v", name, a, a.Alias, err)
		}
	}
}

// A token of an instance of another project or zone, of another account, or of none at all, is refused: what Google signs
// for one instance says nothing of another.
func TestCVE_2020_16251_AnotherInstance(t *testing.T) {
	m, _ := furnished(t)
	for name, claims := range map[string]fields{
		"another project":     vmClaims(nil, fields{"project_id": "shop-2"}),
		"a project's number":  vmClaims(nil, fields{"project_id": 1}),
		"another zone":        vmClaims(nil, fields{"zone": "europe-west3-b"}),
		"another region":      vmClaims(nil, fields{"zone": "us-east1-b"}),
		"no zone":             vmClaims(nil, fields{"zone": nil}),
		"no instance's id":    vmClaims(nil, fields{"instance_id": nil}),
		"no instance's name":  vmClaims(nil, fields{"instance_name": "a/../b"}),
		"another account":     vmClaims(fields{"email": "db@shop-1.iam.gserviceaccount.com", "sub": "1"}, nil),
		"a person":            vmClaims(fields{"email": "ann@example.com"}, nil),
		"an email not proved": vmClaims(fields{"email_verified": false}, nil),
		"proved in words":     vmClaims(fields{"email_verified": "true"}, nil),
		"no instance":         vmClaims(fields{"google": nil}, nil),
		"another role":        vmClaims(fields{"aud": "https://vault.example/vault/own"}, nil),
		"another audience":    vmClaims(fields{"aud": "https://vault.example"}, nil),
		"another issuer":      vmClaims(fields{"iss": "https://accounts.google.com.evil.example"}, nil),
		"ended":               vmClaims(fields{"exp": authtest.Epoch.Add(-2 * time.Minute).Unix()}, nil),
	} {
		if a, err := m.LoginBy("vm", sign(t, byGoogle, claims)); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if _, err := m.LoginBy("vm", sign(t, byAccount, vmClaims(nil, nil))); api.KindOf(err) != api.Denied {
		t.Errorf("signed by an account: %v", err)
	}
	if _, err := m.LoginBy("vm", sign(t, byAccount, ownClaims(fields{"aud": "vault/vm", "google": vmClaims(nil, nil)["google"]}))); api.KindOf(err) != api.Denied {
		t.Errorf("an account that says to be an instance: %v", err)
	}
	if _, err := m.LoginBy("vm", sign(t, byGoogle, vmClaims(nil, nil))); err != nil {
		t.Errorf("as it should be: %v", err)
	}
}

// Each list binds by itself.
func TestEachListBinds(t *testing.T) {
	who := &caller{Email: email, ID: id, Project: "shop-1", Instance: &instance{Project: "shop-1", Zone: "europe-west3-a", ID: "1", Name: "a"}}
	for _, c := range []struct {
		r  role
		in bool
	}{
		{role{Type: typeGCE, Projects: []string{"shop-1"}}, true},
		{role{Type: typeGCE, Projects: []string{"shop-2"}}, false},
		{role{Type: typeGCE, Projects: []string{"shop-1"}, Zones: []string{"europe-west3-b"}}, false},
		{role{Type: typeGCE, Projects: []string{"shop-1"}, Regions: []string{"europe-west4"}}, false},
		{role{Type: typeGCE, Projects: []string{"shop-1"}, Regions: []string{"europe-west3"}}, true},
		{role{Type: typeGCE, Accounts: []string{"db@x"}}, false},
		{role{Type: typeGCE, Accounts: []string{id}}, true},
		{role{Type: typeIAM, Accounts: []string{id}, Inference: true}, true},
		{role{Type: typeIAM, Accounts: []string{email}, Projects: []string{"shop-2"}, Inference: true}, false},
		{role{Type: typeIAM, Accounts: []string{"*"}, Projects: []string{"shop-1"}, Inference: true}, true},
		{role{Type: typeIAM, Accounts: []string{email}}, false}, // what Google has signed, where that is not wanted
		{role{Type: typeIAM, Inference: true}, false},
		{role{}, false},
	} {
		if c.r.lets(who) != c.in {
			t.Errorf("%+v: want %v", c.r, c.in)
		}
	}
	for email, want := range map[string]string{"a@p-1.iam.gserviceaccount.com": "p-1", "1-compute@developer.gserviceaccount.com": "", "a@p.example.com.iam.gserviceaccount.com": ""} {
		if got := projectOf(email); got != want {
			t.Errorf("%s is of %q", email, got)
		}
	}
}

// CVE-2021-42135 had a role keep what an update of it takes away. What is written is what binds: whom a list
// no longer holds is refused by the next login.
// Control: with lists that are added to instead of replaced in role.update it fails.
func TestCVE_2021_42135_UpdatesKeepNoBinding(t *testing.T) {
	m, _ := furnished(t)
	in := func(what string, want bool) {
		t.Helper()
		if _, err := m.LoginBy("vm", sign(t, byGoogle, vmClaims(nil, nil))); (err == nil) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, others := range map[string]any{"bound_projects": "shop-2", "bound_zones": "europe-west3-b", "bound_regions": "europe-west4", "bound_service_accounts": "db@shop-1.iam.gserviceaccount.com"} {
		was := map[string]any{"bound_projects": "shop-1", "bound_zones": "europe-west3-a", "bound_regions": "europe-west3", "bound_service_accounts": email}[name]
		in(name+" as it was", true)
		m.Must(api.Write, "role/vm", fields{name: others})
		in(name+" of others", false)
		m.Must(api.Write, "role/vm", fields{name: was})
	}
	in("as it was", true)
	m.Must(api.Write, "role/vm", fields{"token_policies": "a,b"})
	m.Must(api.Write, "role/vm", fields{"token_policies": "b"})
	if r := m.Must(api.Read, "role/vm", nil).(*Role); len(r.TokenPolicies) != 1 || r.TokenPolicies[0] != "b" {
		t.Errorf("the policies are %v", r.TokenPolicies)
	}
}

func TestInference(t *testing.T) {
	m, _ := furnished(t)
	token := sign(t, byGoogle, vmClaims(fields{"aud": "vault/own"}, nil))
	if a, err := m.LoginBy("own", token); err != nil || a.Alias.Name != email {
		t.Errorf("what Google signs for the account: %+v, %v", a, err)
	}
	m.Must(api.Write, "role/own", fields{"allow_gce_inference": false})
	if _, err := m.LoginBy("own", token); api.KindOf(err) != api.Denied {
		t.Errorf("where that is not wanted: %v", err)
	}
	if _, err := m.LoginBy("own", sign(t, byAccount, ownClaims(nil))); err != nil {
		t.Errorf("the account's own: %v", err)
	}
}

func TestRoles(t *testing.T) {
	m, _ := furnished(t)
	for says, f := range map[string]fields{
		"type: must be":                  {"bound_service_accounts": email},
		"missing bound_service_accounts": {"type": "iam"},
		"bound_projects: is needed":      {"type": "iam", "bound_service_accounts": "*"},
		"stands alone":                   {"type": "iam", "bound_service_accounts": []string{"*", email}, "bound_projects": "p"},
		"for roles of the type gce":      {"type": "iam", "bound_service_accounts": email, "bound_zones": "z"},
		"would let in anybody's":         {"type": "gce", "bound_zones": "z"},
		"bound_labels: is not supported": {"type": "gce", "bound_projects": "p", "bound_labels": "a:b"},
		"bound_instance_groups: is not":  {"type": "gce", "bound_projects": "p", "bound_instance_groups": "g"},
		"add_group_aliases: is not":      {"type": "iam", "bound_service_accounts": email, "add_group_aliases": true},
		"max_jwt_exp":                    {"type": "iam", "bound_service_accounts": email, "max_jwt_exp": "2h"},
		"token_policies":                 {"type": "iam", "bound_service_accounts": email, "token_policies": "root"},
		"bound_projects: holds":          {"type": "gce", "bound_projects": []string{" "}},
	} {
		m.Invalid("role/r", f, says)
	}
	m.Invalid("role/own", fields{"type": "gce"}, "keeps its type")
	m.Invalid("role/vm/labels", fields{"add": "a:b"}, "bound_labels")
	m.Invalid("role/own/service-accounts", fields{}, "add or remove")
	m.Invalid("role/own/service-accounts", fields{"remove": email}, "missing bound_service_accounts")
	m.Must(api.Write, "role/own/service-accounts", fields{"add": "db@shop-1.iam.gserviceaccount.com", "remove": email})
	if r := m.Must(api.Read, "role/own", nil).(*Role); len(r.Accounts) != 1 || r.Accounts[0] != "db@shop-1.iam.gserviceaccount.com" || time.Duration(r.MaxExp) != usualExp {
		t.Errorf("%+v", r)
	}
	if _, err := m.LoginBy("own", sign(t, byAccount, ownClaims(nil))); api.KindOf(err) != api.Denied {
		t.Errorf("an account that was removed: %v", err)
	}
	if keys := m.Must(api.List, "roles", nil).(*api.Keys); len(keys.Keys) != 2 {
		t.Errorf("%+v", keys)
	}
	for says, f := range map[string]fields{"iam_alias": {"iam_alias": "email"}, "gce_alias": {"gce_alias": "x"}, "iam_metadata": {"iam_metadata": "zone"}, "gce_metadata": {"gce_metadata": "x"}, "takes api": {"custom_endpoint": fields{"x": "y"}}, "api must be": {"custom_endpoint": fields{"api": "http://google.example"}}, "api is not": {"custom_endpoint": fields{"api": "google.example"}}} {
		m.Invalid("config", f, says)
	}
	m.Must(api.Write, "config", fields{"credentials": "hush-hush"})
	if conf := m.Must(api.Read, "config", nil).(*Config); conf.IAMAlias != byID || conf.Endpoints["api"] == "" {
		t.Errorf("%+v", conf)
	}
	m.Must(api.Write, "config", fields{"custom_endpoint": fields{"api": "https://a.example", "iam": "https://b.example"}})
	m.Must(api.Write, "config", fields{"custom_endpoint": fields{"api": ""}})
	m.Must(api.Write, "config", fields{"iam_alias": byRole})
	if conf := m.Must(api.Read, "config", nil).(*Config); !maps.Equal(conf.Endpoints, map[string]string{"iam": "https://b.example"}) || conf.api() != usualAPI {
		t.Errorf("%+v", conf)
	}
}

func TestRenew(t *testing.T) {
	m, _ := furnished(t)
	a, err := m.LoginBy("vm", sign(t, byGoogle, vmClaims(nil, nil)))
	if err != nil {
		t.Fatal(err)
	}
	m.Renews(a, "as it was", true)
	m.Must(api.Write, "role/vm", fields{"bound_zones": "europe-west3-b"})
	m.Renews(a, "of another zone", false)
	m.Must(api.Write, "role/vm", fields{"bound_zones": ""})
	m.Renews(a, "of any zone", true)
	m.Must(api.Delete, "role/vm", nil)
	m.Renews(a, "without a role", false)
}

// FuzzIdentify has any claims taken for an instance's: whom it names has a proved email of an account.
func FuzzIdentify(f *testing.F) {
	f.Add(`{"email":"a@p.iam.gserviceaccount.com","email_verified":true,"sub":"1","google":{"compute_engine":{"project_id":"p","zone":"a-b","instance_id":1,"instance_name":"x"}}}`, false)
	f.Add(`{"sub":"a@p.iam.gserviceaccount.com"}`, true)
	f.Add(`{"google":[{"compute_engine":null}],"email_verified":1e400}`, false)
	f.Fuzz(func(t *testing.T, text string, own bool) {
		said, err := jws.ParseClaims([]byte(text))
		if err != nil {
			return
		}
		who, err := identify(said, own)
		if err != nil {
			return
		}
		if !accountForm().MatchString(who.Email) || !own && said["email_verified"] != true || who.Instance != nil && (own || who.Instance.Zone == "") {
			t.Errorf("%s is taken for %+v", text, who)
		}
	})
}
