package azure

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/jws"
)

func TestIdentityLogsIn(t *testing.T) {
	m, e := furnished(t, fields{"bound_service_principal_ids": strings.ToUpper(principal), "token_policies": "dev", "token_ttl": "1h"})
	for range 5 {
		a, err := m.LoginBy("web", sign(t, 0, e.claims(nil)))
		if err != nil {
			t.Fatal(err)
		}
		if a.Alias.Name != principal || a.TTL != time.Hour || a.Metadata["vm_name"] != "web-1" || a.Metadata["subscription_id"] != subscription || a.Metadata["resource_group_name"] != "shop" {
			t.Errorf("answers %+v, alias %+v", a, a.Alias)
		}
	}
	if len(e.asked) != 2 {
		t.Errorf("asked for %v", e.asked)
	}
	if a, err := m.LoginBy("web", sign(t, 0, e.claims(fields{"oid": strings.ToUpper(principal), "xms_mirid": identity}))); err != nil || a.Alias.Name != principal || a.Metadata["vm_name"] != "" || a.Metadata["subscription_id"] != "" {
		t.Errorf("in large letters, of an identity that several machines can have: %+v, %v", a, err)
	}
}

func TestTokenIsRefused(t *testing.T) {
	m, e := furnished(t, fields{"bound_service_principal_ids": "*"})
	for name, token := range map[string]string{
		"another's key":    sign(t, 1, e.claims(nil)),
		"another tenant":   sign(t, 0, e.claims(fields{"tid": other})),
		"another issuer":   sign(t, 0, e.claims(fields{"iss": "https://sts.windows.net/" + other + "/"})),
		"another resource": sign(t, 0, e.claims(fields{"aud": "https://management.azure.com/"})),
		"no resource":      sign(t, 0, e.claims(fields{"aud": nil})),
		"no end":           sign(t, 0, e.claims(fields{"exp": nil})),
		"ended":            sign(t, 0, e.claims(fields{"exp": authtest.Epoch.Add(-time.Hour).Unix()})),
		"not yet":          sign(t, 0, e.claims(fields{"nbf": authtest.Epoch.Add(time.Hour).Unix()})),
		"nobody":           sign(t, 0, e.claims(fields{"oid": nil})),
		"no identifier":    sign(t, 0, e.claims(fields{"oid": "web"})),
		"a machine's path": sign(t, 0, e.claims(fields{"xms_mirid": strings.Replace(machine, "web-1", "..", 1)})),
		"groups of words":  sign(t, 0, e.claims(fields{"groups": []string{"admins"}})),
		"nothing":          "x",
	} {
		if a, err := m.LoginBy("web", token); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if _, err := m.LoginBy("none", sign(t, 0, e.claims(nil))); api.KindOf(err) != api.Denied || err.Error() != "permission denied" {
		t.Errorf("a role that is none: %v", err)
	}
	if _, err := m.LoginBy("web", sign(t, 0, e.claims(nil))); err != nil {
		t.Errorf("as it should be: %v", err)
	}
}

// Each bound claim by itself refuses whom it does not name, whatever the login says of itself.
func TestCVE_2025_3879_EachBoundClaimRefuses(t *testing.T) {
	inGroup := fields{"groups": []string{group}}
	ofSet := fields{"xms_mirid": scaleSet}
	for name, c := range map[string]struct {
		right, wrong any
		claims       fields // that the right one lets in
	}{
		"bound_service_principal_ids": {principal, other, nil},
		"bound_group_ids":             {group, other, inGroup},
		"bound_subscription_ids":      {subscription, other, nil},
		"bound_resource_groups":       {"SHOP", "bank", nil},
		"bound_scale_sets":            {"Web", "db", ofSet},
		"bound_locations":             {"West Europe", "northeurope", nil},
	} {
		m, e := furnished(t, fields{name: c.right})
		token := sign(t, 0, e.claims(c.claims))
		if _, err := m.LoginBy("web", token); err != nil {
			t.Errorf("%s: whom it names: %v", name, err)
		}
		m.Must(api.Write, "role/web", fields{name: c.wrong, "bound_service_principal_ids": map[bool]any{true: c.wrong, false: principal}[name == "bound_service_principal_ids"]})
		body := fields{"role": "web", "jwt": token}
		for _, more := range []fields{{}, {"subscription_id": other, "resource_group_name": "bank"}, {"vmss_name": "db"}, {"vm_name": "db"}, {"resource_id": strings.Replace(machine, "Shop", "bank", 1)}} {
			if a, err := m.Do(api.Write, "login", authtest.Changed(more, body)); api.KindOf(err) != api.Denied {
				t.Errorf("%s: whom it does not name, who says %v: %+v, %v", name, more, a, err)
			}
		}
		for what, claims := range map[string]fields{"no machine": {"xms_mirid": nil}, "an identity of several machines": {"xms_mirid": identity}, "no group": {"groups": nil}} {
			if name == "bound_service_principal_ids" || (name == "bound_group_ids") != (what == "no group") {
				continue
			}
			m.Must(api.Write, "role/web", fields{name: c.right})
			if a, err := m.LoginBy("web", sign(t, 0, e.claims(claims))); api.KindOf(err) != api.Denied {
				t.Errorf("%s: a token that says %s: %+v, %v", name, what, a, err)
			}
		}
	}
}

// What a login says of its machine is what its token says, or it is refused.
func TestLoginNamesItsMachine(t *testing.T) {
	m, e := furnished(t, fields{"bound_service_principal_ids": principal})
	for _, c := range []struct {
		mirid string
		login fields
		in    bool
	}{
		{machine, fields{"subscription_id": subscription, "resource_group_name": "shop", "vm_name": "WEB-1"}, true}, {machine, fields{"resource_id": strings.ToUpper(machine)}, true},
		{machine, fields{"subscription_id": other}, false}, {machine, fields{"resource_group_name": "bank"}, false}, {machine, fields{"vm_name": "web-2"}, false},
		{machine, fields{"vmss_name": "web"}, false}, {machine, fields{"resource_id": scaleSet}, false}, {machine, fields{"resource_id": "x"}, false},
		{scaleSet, fields{"vmss_name": "web", "vm_name": "web_0"}, true}, {scaleSet, fields{"vmss_name": "db"}, false},
		{scaleSet + "/virtualMachines/0", fields{"vmss_name": "web"}, true}, {identity, fields{"vm_name": "web-1"}, true},
	} {
		if a, err := m.Do(api.Write, "login", authtest.Changed(fields{"role": "web", "jwt": sign(t, 0, e.claims(fields{"xms_mirid": c.mirid}))}, c.login)); (err == nil) != c.in {
			t.Errorf("%s as %v: %+v, %v", c.mirid, c.login, a, err)
		}
	}
	both := e.claims(fields{"xms_mirid": identity, "xms_az_rid": machine})
	if a, err := m.LoginBy("web", sign(t, 0, both)); err != nil || a.Metadata["vm_name"] != "web-1" {
		t.Errorf("the machine beside the identity: %+v, %v", a, err)
	}
}

func TestLocation(t *testing.T) {
	m, e := furnished(t, fields{"bound_locations": "westeurope"})
	token := sign(t, 0, e.claims(nil))
	e.known = strings.Replace(machine, "web-1", "web-2", 1)
	if _, err := m.LoginBy("web", token); api.KindOf(err) != api.Denied {
		t.Errorf("an answer about another machine: %v", err)
	}
	e.known, e.location = "", ""
	if _, err := m.LoginBy("web", token); api.KindOf(err) != api.Denied {
		t.Errorf("nowhere: %v", err)
	}
	e.location, e.status = "westeurope", 403
	if _, err := m.LoginBy("web", token); api.KindOf(err) != api.Unavailable {
		t.Errorf("a client that may not ask: %v", err)
	}
	e.status = 404
	if _, err := m.LoginBy("web", token); api.KindOf(err) != api.Denied {
		t.Errorf("a machine that is not there: %v", err)
	}
	if _, err := m.LoginBy("web", sign(t, 0, e.claims(fields{"xms_mirid": strings.Replace(machine, "Microsoft.Compute/virtualMachines", "Microsoft.Web/sites", 1)}))); api.KindOf(err) != api.Denied {
		t.Errorf("no machine: %v", err)
	}
	bare, b := open(t), startEntra(t)
	bare.Must(api.Write, "config", fields{"tenant_id": tenant, "resource": "r", "custom_endpoint": fields{"login": b.URL, "issuer": b.URL}})
	bare.Invalid("role/web", fields{"bound_locations": "westeurope"}, "no client to ask with")
}

func TestConfig(t *testing.T) {
	m := open(t)
	m.Invalid("login", fields{"role": "r", "jwt": "x"}, "has not been configured: it does not know whose tokens to take; write its configuration to auth/azure/config")
	if _, err := m.Do(api.Read, "config", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("nothing: %v", err)
	}
	good := func(changes fields) fields {
		return authtest.Changed(fields{"tenant_id": tenant, "resource": "r"}, changes)
	}
	for says, f := range map[string]fields{
		"tenant_id": good(fields{"tenant_id": "example.com"}), "resource: must": good(fields{"resource": nil}), "environment: must": good(fields{"environment": "AzureGermanCloud"}),
		"one needs the other": good(fields{"client_id": "x"}), "takes login": good(fields{"custom_endpoint": fields{"x": "https://x"}}), "login must be": good(fields{"custom_endpoint": fields{"login": "http://login.example"}}),
		"management is not": good(fields{"custom_endpoint": fields{"management": "management.example"}}), "issuer is not": good(fields{"custom_endpoint": fields{"issuer": "https://sts.example/?x=1"}}),
	} {
		m.Invalid("config", f, says)
	}
	m.Must(api.Write, "config", good(fields{"tenant_id": strings.ToUpper(tenant), "client_id": "x", "client_secret": "hush-hush"}))
	b, err := json.Marshal(m.Must(api.Read, "config", nil))
	if err != nil || strings.Contains(string(b), "hush") || !strings.Contains(string(b), tenant) {
		t.Errorf("%s, %v", b, err)
	}
	for _, f := range []fields{{"custom_endpoint": fields{"login": "https://evil.example"}}, {"tenant_id": other}, {"client_id": "y"}, {"environment": "AzureChinaCloud"}} {
		m.Invalid("config", f, "client_secret: must be given again")
	}
	m.Must(api.Write, "config", fields{"resource": "s"})
	for cloud, want := range map[string]string{usualCloud: "https://sts.windows.net/" + tenant + "/", "AzureChinaCloud": "https://sts.chinacloudapi.cn/" + tenant + "/"} {
		if got := (&config{Tenant: tenant, Cloud: cloud}).issuer(); got != want {
			t.Errorf("%s: %s", cloud, got)
		}
	}
	m.Must(api.Delete, "config", nil)
	m.Invalid("login", fields{"role": "r", "jwt": "x"}, "has not been configured")
}

// A provider that calls itself another tenant's has its keys not taken.
func TestAnotherTenantsKeys(t *testing.T) {
	m, e := furnished(t, fields{"bound_service_principal_ids": "*"})
	e.named = e.URL + "/" + other + "/"
	if _, err := m.LoginBy("web", sign(t, 0, e.claims(nil))); api.KindOf(err) != api.Unavailable {
		t.Errorf("%v", err)
	}
	sts := "https://sts.windows.net"
	m.Must(api.Write, "config", fields{"client_id": "", "client_secret": "", "custom_endpoint": fields{"login": e.URL, "issuer": sts}})
	token := sign(t, 0, e.claims(fields{"iss": sts + "/" + tenant + "/"}))
	e.named = e.URL + "/" + tenant + "/"
	if _, err := m.LoginBy("web", token); api.KindOf(err) != api.Unavailable {
		t.Errorf("one that calls itself by its address: %v", err)
	}
	e.named, m.With.Now = sts+"/"+tenant+"/", m.With.Now.Add(time.Minute)
	if _, err := m.LoginBy("web", token); err != nil {
		t.Errorf("the name that tokens have: %v", err)
	}
}

func TestRoles(t *testing.T) {
	m, _ := furnished(t, fields{"bound_service_principal_ids": principal})
	for says, f := range map[string]fields{
		"at least one": {}, "bound_service_principal_ids: each": {"bound_service_principal_ids": []string{"*", principal}}, "bound_group_ids: each": {"bound_group_ids": "*"},
		"bound_resource_groups: holds": {"bound_resource_groups": "a/b"}, "bound_locations: holds": {"bound_locations": "*"}, "token_policies": {"bound_group_ids": group, "token_policies": "Root"},
	} {
		m.Invalid("role/r", f, says)
	}
	m.Invalid("role/web", fields{"bound_service_principal_ids": ""}, "at least one")
	m.Must(api.Write, "role/web", fields{"bound_locations": "West Europe"})
	if r := m.Must(api.Read, "role/web", nil).(*Role); len(r.Principals) != 1 || r.Locations[0] != "westeurope" {
		t.Errorf("%+v", r)
	}
	if (&role{}).lets(&caller{ID: principal}) {
		t.Error("a row that says nothing lets somebody in")
	}
}

func TestRenew(t *testing.T) {
	m, e := furnished(t, fields{"bound_service_principal_ids": principal})
	a, err := m.LoginBy("web", sign(t, 0, e.claims(nil)))
	if err != nil {
		t.Fatal(err)
	}
	m.Renews(a, "as it was", true)
	m.Must(api.Write, "role/web", fields{"bound_locations": "westeurope"})
	m.Renews(a, "of a location that nobody has asked for", false)
	m.Must(api.Write, "role/web", fields{"bound_locations": "", "bound_resource_groups": "bank"})
	m.Renews(a, "of another group", false)
	m.Must(api.Write, "role/web", fields{"bound_resource_groups": "shop"})
	m.Renews(a, "of its group", true)
	m.Must(api.Delete, "role/web", nil)
	m.Renews(a, "without a role", false)
}

// FuzzResource reads any identifier: what it takes, it writes as one that it reads again as the same.
func FuzzResource(f *testing.F) {
	f.Add(machine)
	f.Add(scaleSet + "/virtualMachines/0")
	f.Add("/subscriptions/" + subscription + "/resourcegroups/../providers/a/b/c")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseResource(text)
		if err != nil {
			return
		}
		again, err := parseResource(m.id())
		if err != nil || *again != *m || strings.ContainsAny(m.id(), "?#%\\ ") || strings.Contains(m.id(), "..") && strings.Contains(m.id(), "/..") {
			t.Errorf("%q is %+v, %v", text, m, err)
		}
	})
}

// FuzzIdentify has any claims taken for an identity's: whom they name has an identifier.
func FuzzIdentify(f *testing.F) {
	f.Add(`{"oid":"` + principal + `","groups":["` + group + `"],"xms_mirid":"` + machine + `"}`)
	f.Add(`{"oid":1,"groups":{"a":1},"xms_az_rid":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		said, err := jws.ParseClaims([]byte(text))
		if err != nil {
			return
		}
		if who, err := identify(said); err == nil && !idForm().MatchString(who.ID) {
			t.Errorf("%s is taken for %+v", text, who)
		}
	})
}
