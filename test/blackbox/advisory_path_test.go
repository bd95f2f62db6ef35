package blackbox

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

const canary = "canary-7f3a91c2"

func quoted(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// spellings are request targets that somebody could take for base/name.
func spellings(base, open, name string) []string {
	up := open + "/.."
	return []string{
		base + "/" + up + "/" + name, base + "/./" + name, base + "//" + name, base + "/" + open + "//../" + name,
		base + "/" + open + "/%2e%2e/" + name, base + "/" + open + "/%2E%2E%2F" + name, base + "/" + open + "%2f..%2f" + name, base + "/" + open + "/..%2f" + name,
		base + "/" + open + "/%252e%252e/" + name, base + "/" + open + "/..%5c" + name, base + `/` + open + `/..\` + name, base + "/" + open + "/.%00./" + name,
		base + "/" + open + "/..;/" + name, base + "/" + open + ";/../" + name, base + "/" + name + ";x", base + "/" + name + "%00", base + "/" + name + ".", base + "/" + name + "%20", base + "/%20" + name,
		base + "/" + open + "/%c0%ae%c0%ae/" + name, base + "/" + open + "/%e0%80%ae%e0%80%ae/" + name, base + "/" + open + "%c0%af..%c0%af" + name, base + "/" + open + "/\u202e/" + name,
		base + "/" + name + "/", base + "/" + name + "/.", base + "/" + name + "?x=/" + open, base + "/" + name + "#" + open, base + "/" + name + "%23" + open, base + "/" + name + "%3f" + open,
		"/" + base + "/" + name, base + "/" + open + "/%ef%bc%8e%ef%bc%8e/" + name, base + "/" + strings.ToUpper(name), base + "/" + name + "%09", base + "/" + name + "%0d%0aX-Vault-Token:%20" + root,
		base + "/" + name + strings.Repeat("/a", 3000), base + "/" + strings.ReplaceAll(name, "i", "%69"),
	}
}

func TestCVE_2026_3605_DotSegments(t *testing.T) {
	s := furnished(t)
	s.Want(t, 204, "POST", "kv1/priv/x", root, `{"v":"`+canary+`"}`)
	s.Want(t, 200, "POST", "secret/data/priv/x", root, `{"data":{"v":"`+canary+`"}}`)
	all := `capabilities = ["create", "read", "update", "delete", "list", "scan", "patch"] }`
	token := s.Policy(t, "", "open", `path "kv1/open/*" { `+all+` path "secret/data/open/*" { `+all+` path "secret/metadata/open/*" { `+all+` path "secret/destroy/open/*" { `+all)
	for _, base := range []string{"kv1", "secret/data", "secret/metadata", "secret/destroy"} {
		for _, target := range spellings(base, "open", "priv/x") {
			for _, method := range []string{"GET", "DELETE", "LIST", "SCAN", "PUT"} {
				a := s.RawGet(t, method, "/v1/"+strings.ReplaceAll(target, " ", "%20"), token)
				if a.Status < 300 && !strings.Contains(target, "/open/") && method != "LIST" && method != "SCAN" {
					t.Errorf("%s %s: %d %s", method, target, a.Status, a.Body)
				}
				if strings.Contains(a.Text(), canary) {
					t.Errorf("%s %s: %d shows the secret", method, target, a.Status)
				}
			}
		}
	}
	if a := s.Want(t, 200, "GET", "kv1/priv/x", root, ""); a.String("data", "v") != canary {
		t.Errorf("changed: %s", a.Body)
	}
	if a := s.Want(t, 200, "GET", "secret/data/priv/x", root, ""); a.String("data", "data", "v") != canary {
		t.Errorf("changed: %s", a.Body)
	}
}

// TestSpellingsDecideAlike holds each spelling's answer against its decoded
// path's: 400, or the same decision and the same data.
func TestSpellingsDecideAlike(t *testing.T) {
	s := furnished(t)
	s.Want(t, 204, "POST", "kv1/priv/x", root, `{"v":"`+canary+`"}`)
	token := s.Policy(t, "", "both", `path "kv1/*" { capabilities = ["read"] } path "kv1/priv/*" { capabilities = ["deny"] }`)
	for _, target := range spellings("kv1", "open", "priv/x") {
		a := s.RawGet(t, "GET", "/v1/"+target, token)
		if a.Status == 400 || a.Status == 431 {
			continue
		}
		sameAsCanonical(t, s, target, token, a)
	}
}

func sameAsCanonical(t *testing.T, s *servertest.Server, target, token string, a *servertest.Answer) {
	t.Helper()
	u, err := url.ParseRequestURI("/v1/" + target)
	if err != nil {
		t.Errorf("%q: answered %d though it is no path", target, a.Status)
		return
	}
	path, err := policy.Canonical(strings.TrimPrefix(u.Path, "/v1/"))
	if err != nil {
		t.Errorf("%q: answered %d though it has no canonical form", target, a.Status)
		return
	}
	b := s.RawGet(t, "GET", (&url.URL{Path: "/v1/" + path}).EscapedPath(), token)
	if a.Status != b.Status || fmt.Sprint(a.Field("data")) != fmt.Sprint(b.Field("data")) {
		t.Errorf("%q: %d %s, canonical %q: %d %s", target, a.Status, a.Body, path, b.Status, b.Body)
	}
}

func TestGHSA_xp3c_3jw3_4vcr_ListTrailingSlash(t *testing.T) {
	s := furnished(t)
	s.Want(t, 204, "POST", "kv1/private/x", root, `{"v":"1"}`)
	for i, deny := range []string{"kv1/private*", "kv1/private/*", "kv1/private/", "kv1/private", "kv1/+/"} {
		token := s.Policy(t, "", fmt.Sprintf("list%d", i), `path "kv1/*" { capabilities = ["read", "list", "scan"] } path "`+deny+`" { capabilities = ["deny"] }`)
		for _, c := range [][2]string{{"LIST", "kv1/private"}, {"LIST", "kv1/private/"}, {"GET", "kv1/private?list=true"}, {"GET", "kv1/private/?list=true"},
			{"SCAN", "kv1/private"}, {"SCAN", "kv1/private/"}, {"GET", "kv1/private/?scan=1"}} {
			if a := s.Do(t, c[0], c[1], token, ""); a.Status != 403 {
				t.Errorf("deny %s: %s %s: %d %s", deny, c[0], c[1], a.Status, a.Body)
			}
		}
		s.Want(t, 200, "LIST", "kv1/", token, "") // control: the rest may be listed
	}
}

// variants are other spellings of a name that something on the way could fold.
func variants(name string) []string {
	return []string{strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], name[:1] + strings.ToUpper(name[1:]), strings.ReplaceAll(name, "s", "\u017f"),
		strings.ReplaceAll(name, "k", "\u212a"), strings.ReplaceAll(name, "i", "\u0130"), name + " ", " " + name, name + "\u00a0", name + "\u200b", name + "/", name + ".", name + "\x00", name + "\t"}
}

func TestCVE_2026_89322_CaseVariants(t *testing.T) {
	s := furnished(t)
	s.Want(t, 204, "POST", "sys/policies/acl/risk", root, `{"policy":"path \"a\" { capabilities = [\"read\"] }"}`)
	s.Want(t, 204, "POST", "auth/token/roles/risk", root, `{"allowed_policies":"default"}`)
	all := `capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`
	token := s.Policy(t, "", "globs", `path "sys/policies/acl/*" { `+all+` path "sys/policy/*" { `+all+` path "auth/token/roles/*" { `+all+`
		path "sys/policies/acl/risk" { capabilities = ["deny"] } path "sys/policy/risk" { capabilities = ["deny"] } path "auth/token/roles/risk" { capabilities = ["deny"] }`)
	for _, base := range []string{"sys/policies/acl/", "sys/policy/", "auth/token/roles/"} {
		for _, v := range append(variants("risk"), "risk") {
			for _, method := range []string{"GET", "DELETE"} {
				a := s.RawGet(t, method, "/v1/"+base+url.PathEscape(v), token)
				if a.Status < 300 && strings.Contains(a.Text(), "risk") {
					t.Errorf("%s %s%q: %d %s", method, base, v, a.Status, a.Body)
				}
			}
		}
		s.Want(t, 200, "GET", base+"risk", root, "") // none of the deletions reached it
	}
}

func TestCVE_2026_105820_PolicyNameTraversal(t *testing.T) {
	s := furnished(t)
	s.Want(t, 200, "POST", "sys/namespaces/ns1", root, `{}`)
	s.Policy(t, "ns1", "wide", `path "*" { capabilities = ["read", "list"] }`)
	maker := s.Policy(t, "", "maker", `path "auth/token/create" { capabilities = ["create", "update", "sudo"] }`)
	for _, name := range []string{"../root", "a/../../root", "%2e%2e/wide", "ns1/wide", "../ns1/wide", "./root", "root/", "/root", "4:root", "root\x00", "1:a4:root"} {
		for _, by := range []string{root, maker} {
			a := s.Do(t, "POST", "auth/token/create", by, `{"policies":[`+quoted(t, name)+`],"no_default_policy":true}`)
			if a.Status != 200 {
				continue
			}
			if b := s.Do(t, "GET", "kv1/a", a.String("auth", "client_token"), ""); b.Status != 403 {
				t.Errorf("policy name %q reads: %d", name, b.Status)
			}
		}
	}
}

func TestVault_2_1_2_PolicyNamesInParameters(t *testing.T) {
	s := furnished(t)
	s.Want(t, 204, "POST", "sys/policies/acl/admin", root, `{"policy":"path \"kv1/*\" { capabilities = [\"read\"] }"}`)
	token := s.Policy(t, "", "limited", `path "auth/token/create" { capabilities = ["create", "update", "sudo"] denied_parameters = { "policies" = ["root", "admin"] } }`)
	forms := []string{`["%s"]`, `["default","%s"]`, `"%s"`, `"default,%s"`, `" default , %s "`}
	for _, name := range []string{"admin", "ADMIN", "Admin", " admin", "admin ", `\u0061dmin`, `adm\u0131n`, `admin\u200b`, "root", "ROOT ", " Root", `root\u200b`, `r\uff4fot`} {
		for _, form := range forms {
			body := `{"no_default_policy":true,"policies":` + fmt.Sprintf(form, name) + `}`
			a := s.Do(t, "POST", "auth/token/create", token, body)
			if a.Status != 200 {
				continue
			}
			if b := s.Do(t, "GET", "kv1/a", a.String("auth", "client_token"), ""); b.Status != 403 {
				t.Errorf("%s: the token reads", body)
			}
		}
	}
	s.Want(t, 200, "POST", "auth/token/create", token, `{"policies":["other"]}`) // control: a name that is not denied
}

func TestCVE_2025_5999_RootSpellings(t *testing.T) {
	s := furnished(t)
	token := s.Policy(t, "", "issuer", `path "auth/token/*" { capabilities = ["create", "read", "update", "sudo"] }`)
	names := []string{"root", "ROOT", "Root", "rOOt", " root", "root ", "root\t", "root\u00a0", "ro ot", "root\u200b", "\u200broot", "root\ufeff", "ｒｏｏｔ", "r\u006f\u0000ot", "ROOT\u2028", "root\u00ad"}
	for i, name := range names {
		bodies := []string{`{"policies":[` + quoted(t, name) + `]}`, `{"policies":` + quoted(t, "default,"+name) + `}`}
		for _, body := range bodies {
			tokenIsPowerless(t, s, token, "auth/token/create", body)
			tokenIsPowerless(t, s, token, "auth/token/create-orphan", body)
		}
		role := fmt.Sprintf("auth/token/roles/r%d", i)
		for _, field := range []string{"allowed_policies", "allowed_policies_glob"} {
			s.Do(t, "POST", role, root, `{"`+field+`":[`+quoted(t, name)+`]}`)
			for _, body := range append(bodies, `{}`) {
				tokenIsPowerless(t, s, token, fmt.Sprintf("auth/token/create/r%d", i), body)
			}
		}
	}
}

// tokenIsPowerless asks for a token and fails the test when what it gets reads.
func tokenIsPowerless(t *testing.T, s *servertest.Server, by, path, body string) {
	t.Helper()
	a := s.Do(t, "POST", path, by, body)
	if a.Status != 200 {
		return
	}
	if b := s.Do(t, "GET", "kv1/a", a.String("auth", "client_token"), ""); b.Status != 403 {
		t.Errorf("%s %s: the token reads: %v", path, body, a.Field("auth", "policies"))
	}
}

func TestOpenBao_GH_3518_PaginationLimit(t *testing.T) {
	s := furnished(t)
	for i := range 5 {
		s.Want(t, 200, "POST", fmt.Sprintf("secret/data/many/%d", i), root, `{"data":{"a":"b"}}`)
	}
	token := s.Policy(t, "", "paged", `path "secret/metadata/*" { capabilities = ["list", "scan"] pagination_limit = 2 }`)
	for _, q := range []string{"", "?limit=0", "?limit=-1", "?limit=2", "?limit=3", "?limit=9223372036854775808", "?limit=18446744073709551617", "?limit=", "?limit=NaN", "?limit=max", "?limit=2&limit=5", "?limit=5&limit=2",
		"?LIMIT=5", "?limit=%00", "?limit=5.0", "?limit=0x5", "?limit=%2b5", "?limit[]=5", "?limit=2;limit=5", "?after=&limit=1e3", "?limit=\u0665"} {
		for _, method := range []string{"LIST", "SCAN"} {
			a := s.Do(t, method, "secret/metadata/many/"+q, token, "")
			keys, _ := a.Field("data", "keys").([]any)
			if len(keys) > 2 || a.Status >= 500 {
				t.Errorf("%s %q: %d, %d keys", method, q, a.Status, len(keys))
			}
		}
	}
	if a := s.Want(t, 200, "LIST", "secret/metadata/many", root, ""); len(a.Field("data", "keys").([]any)) != 5 {
		t.Errorf("control: %s", a.Body)
	}
}
