package ldap

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

func TestRowsAsTheWireHasThem(t *testing.T) {
	m := newMount(t)
	for _, s := range []struct {
		op         api.Op
		path, body string
		want       string
		kind       api.Kind
	}{
		{api.List, "users", "", `{"keys":[]}`, authtest.Success},
		{api.Read, "users/alice", "", "", api.NotFound},
		{api.Write, "users/Alice", `{"policies":"Dev, ops,dev","groups":"B,a"}`, "null", authtest.Success},
		{api.Read, "users/ALICE", "", `{"groups":"a,b","policies":["dev","ops"]}`, authtest.Success},
		{api.Write, "users/alice", `{}`, "null", authtest.Success}, // what is absent is none
		{api.Read, "users/alice", "", `{"groups":"","policies":[]}`, authtest.Success},
		{api.Write, "users/bob", `{"policies":["a"," ROOT "]}`, "", api.Invalid},
		{api.Write, "users/bob", `{"groups":["a,b"]}`, "", api.Invalid},
		{api.Write, "users/bob", `{"groups":"` + strings.Repeat("x", maxName+1) + `"}`, "", api.Invalid},
		{api.Write, "users/" + strings.Repeat("x", maxName+1), `{}`, "", api.Invalid},
		{api.Write, "groups/Domain Admins", `{"policies":["admin"]}`, "null", authtest.Success},
		{api.Write, "groups/a/b", `{"policies":["x"]}`, "null", authtest.Success},
		{api.Write, "groups/x", `{"policies":"root"}`, "", api.Invalid},
		{api.Read, "groups/domain admins", "", `{"policies":["admin"]}`, authtest.Success},
		{api.Read, "groups/a/b", "", `{"policies":["x"]}`, authtest.Success},
		{api.List, "groups", "", `{"keys":["a/","domain admins"]}`, authtest.Success},
		{api.List, "groups", `{"limit":1,"after":"a/"}`, `{"keys":["domain admins"]}`, authtest.Success},
		{api.List, "users", "", `{"keys":["alice"]}`, authtest.Success},
		{api.Delete, "users/ALICE", "", "null", authtest.Success},
		{api.Delete, "users/alice", "", "null", authtest.Success},
		{api.Delete, "groups/a/b", "", "null", authtest.Success},
		{api.List, "users", "", `{"keys":[]}`, authtest.Success},
		{api.List, "groups", "", `{"keys":["domain admins"]}`, authtest.Success},
	} {
		got, kind := m.Text(s.op, s.path, s.body)
		if kind != s.kind || kind == authtest.Success && got != s.want {
			t.Errorf("%s %.30q %.60s: %s %v, want %s %v", s.op, s.path, s.body, got, kind, s.want, s.kind)
		}
	}
}

func TestConfigIsReadWithoutItsSecrets(t *testing.T) {
	m := newMount(t)
	const unset = `{"anonymous_group_search":false,"binddn":"","case_sensitive_names":false,"certificate":"","connection_timeout":30,"deny_null_bind":true,` +
		`"dereference_aliases":"never","discoverdn":false,"groupattr":"cn","groupdn":"","groupfilter":"(|(memberUid={{.Username}})(member={{.UserDN}})(uniqueMember={{.UserDN}}))",` +
		`"insecure_tls":false,"max_page_size":0,"request_timeout":90,"starttls":false,"tls_max_version":"tls13","tls_min_version":"tls12","upndomain":"",` +
		`"url":"ldap://127.0.0.1","use_pre111_group_cn_behavior":false,"use_token_groups":false,"userattr":"cn","userdn":"","userfilter":"({{.UserAttr}}={{.Username}})","username_as_alias":false,`
	read := func() string {
		return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(m.MustText(api.Read, "config", ""))
	}
	if got := read(); !strings.HasPrefix(got, unset) || !strings.Contains(got, `"token_policies":[]`) {
		t.Errorf("without settings: %s", got)
	}
	d := world.directory
	m.MustText(api.Write, "config", `{"url":"ldaps://a.example.com, ldap://b.example.com:1389/","binddn":"cn=x","bindpass":"hush-hush","client_tls_cert":`+quoted(d.Cert)+`,"client_tls_key":`+quoted(d.Key)+`,
		"insecure_tls":"true","deny_null_bind":false,"request_timeout":"20s","token_policies":"dev","token_ttl":60,"case_sensitive_names":true}`)
	if w := strings.Join(m.Warnings, "\n"); !strings.Contains(w, "b.example.com:1389") || strings.Contains(w, "a.example.com") || !strings.Contains(w, "insecure_tls") || !strings.Contains(w, "deny_null_bind") {
		t.Errorf("warned of %s", w)
	}
	m.MustText(api.Write, "config", `{"userattr":"uid"}`) // the rest stays
	got := read()
	for _, want := range []string{`"request_timeout":20`, `"token_policies":["dev"]`, `"token_ttl":60`, `"userattr":"uid"`, `"binddn":"cn=x"`, `"deny_null_bind":false`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if strings.Contains(got, "hush") || strings.Contains(got, "PRIVATE") || strings.Contains(got, "bindpass") {
		t.Errorf("%s shows a secret", got)
	}
	cfg, err := settings(stored(m.Call()))
	if err != nil || cfg.bindPass.Reveal() != "hush-hush" || cfg.clientKey.Empty() {
		t.Errorf("the secrets were not kept (%v)", err)
	}
	m.MustText(api.Write, "config", `{"binddn":"","client_tls_cert":""}`)
	if cfg, err = settings(stored(m.Call())); err != nil || !cfg.bindPass.Empty() || !cfg.clientKey.Empty() {
		t.Errorf("the secrets outlive what they are of (%v)", err)
	}
	if w := strings.Join(m.Warnings, "\n"); !strings.Contains(w, "renewed") {
		t.Errorf("warned of %s", w)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	m := newMount(t)
	for _, s := range []struct{ body, names string }{
		{`{"url":""}`, "url"}, {`{"url":"http://x"}`, "url"}, {`{"url":"ldap://u:p@x"}`, "url"}, {`{"url":"ldap://x/dc=y"}`, "url"}, {`{"url":"ldapi://x"}`, "url"},
		{`{"url":"ldap://x,"}`, "url"}, {`{"url":"` + strings.Repeat("ldap://x,", maxURLs) + `ldap://x"}`, "url"}, {`{"url":"ldap://x?a"}`, "url"},
		{`{"tls_min_version":"tls11"}`, "tls_min_version"}, {`{"tls_max_version":""}`, "tls_max_version"}, {`{"tls_min_version":"tls13","tls_max_version":"tls12"}`, "tls_max_version"},
		{`{"certificate":"x"}`, "certificate"}, {`{"certificate":` + quoted(world.directory.CA+"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n") + `}`, "certificate"}, {`{"client_tls_cert":"x"}`, "client_tls_key"}, {`{"client_tls_cert":"x","client_tls_key":"y"}`, "client_tls_key"},
		{`{"binddn":"cn=x"}`, "bindpass"}, {`{"binddn":"cn=x","bindpass":"a\u0000"}`, "bindpass"}, {`{"userdn":"x"}`, "userdn"}, {`{"groupdn":"=,"}`, "groupdn"},
		{`{"userattr":""}`, "userattr"}, {`{"userattr":"a)(b"}`, "userattr"}, {`{"groupattr":"a b"}`, "groupattr"}, {`{"upndomain":"a@b"}`, "upndomain"},
		{`{"userfilter":""}`, "userfilter"}, {`{"userfilter":"(uid={{.UserDN}})"}`, "userfilter"}, {`{"userfilter":"({{.Username}}=x)"}`, "userfilter"},
		{`{"userfilter":"(uid={{.Username}}"}`, "userfilter"}, {`{"groupfilter":"(x={{ printf .UserDN }})"}`, "groupfilter"}, {`{"groupfilter":"(x={{.Nothing}})"}`, "groupfilter"},
		{`{"groupfilter":"(a:{{.Username}}:=x)"}`, "groupfilter"}, {`{"groupfilter":"x"}`, "groupfilter"}, {`{"groupfilter":"(a=` + strings.Repeat("x", maxFilter) + `)"}`, "groupfilter"},
		{`{"dereference_aliases":"sometimes"}`, "dereference_aliases"}, {`{"request_timeout":0}`, "request_timeout"}, {`{"connection_timeout":-1}`, "connection_timeout"},
		{`{"request_timeout":"1h"}`, "request_timeout"}, {`{"max_page_size":100000}`, "max_page_size"}, {`{"token_type":"x"}`, "token_type"}, {`{"starttls":"perhaps"}`, "starttls"},
	} {
		got, kind := m.Text(api.Write, "config", s.body)
		if kind != api.Invalid || !strings.Contains(got, s.names) {
			t.Errorf("%.80s: %s (%v), want a refusal that names %s", s.body, got, kind, s.names)
		}
	}
	if cfg, err := settings(stored(m.Call())); cfg != nil || err != nil {
		t.Errorf("something was kept: %v", err)
	}
}

// What a program of another version, or nobody, has written is not taken for settings.
func TestRowsOfAnotherForm(t *testing.T) {
	m := newMount(t)
	for _, row := range []string{"", "\x02{}", "\x01{", "{}"} {
		if err := decode([]byte(row), &config{}); err == nil {
			t.Errorf("%q is taken", row)
		}
	}
	m.refused("alice", "x", api.Invalid)
}
