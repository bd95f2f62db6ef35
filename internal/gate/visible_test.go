package gate_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
)

func TestVisibleNamespaces(t *testing.T) {
	f := newFixture(t)
	team := f.child(rootNS, "team")
	f.child(team, "inner")
	f.child(rootNS, "other")
	weak := f.holder(namespace.RootID, `path "team/inner/*" { capabilities = ["read"] }`)
	for _, c := range []struct{ token, ns, want string }{
		{f.root, "", `{"keys":["other/","team/"]}`},
		{f.root, "team", `{"keys":["inner/"]}`},
		{f.root, "other", `{}`},
		{weak, "", `{"keys":["team/"]}`},
		{weak, "team", `{"keys":["inner/"]}`},
	} {
		r := request(api.Read, "sys/internal/ui/namespaces", c.token)
		r.Namespace = c.ns
		if got := f.gate.Serve(t.Context(), r); got.Err != nil || string(got.Data) != c.want {
			t.Errorf("in %q: %s, %v, want %s", c.ns, got.Data, got.Err, c.want)
		}
	}
	want(t, f.do(api.Read, "sys/internal/ui/namespaces", ""), "invalid")
}

func TestResultantACL(t *testing.T) {
	f := newFixture(t)
	if got := f.do(api.Read, "sys/internal/ui/resultant-acl", f.root); string(got.Data) != `{"root":true}` {
		t.Errorf("root: %s, %v", got.Data, got.Err)
	}
	tok := f.holder(namespace.RootID, `path "sys/internal/ui/*" { capabilities = ["read"] }
path "secret/foo" { capabilities = ["deny"] }
path "sys/+/x" { capabilities = ["update", "sudo"] }
path "a/b" { capabilities = ["create"] allowed_parameters = { x = [] } denied_parameters = { y = ["1"] } min_wrapping_ttl = "5s" }`)
	got := string(f.do(api.Read, "sys/internal/ui/resultant-acl", tok).Data)
	for _, part := range []string{`"root":false`, `"secret/foo":{"capabilities":["deny"]}`, `"sys/+/x":{"capabilities":["sudo","update"]}`,
		`"sys/internal/ui/":{"capabilities":["read"]}`, `"a/b":{"capabilities":["create"],"min_wrapping_ttl":5,"allowed_parameters":{"x":[]},"denied_parameters":{"y":["1"]}}`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
	want(t, f.do(api.Read, "sys/internal/ui/resultant-acl", f.holder(namespace.RootID, `path "x" { capabilities = ["read"] }`)), "denied")
}
