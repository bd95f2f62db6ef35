package blackbox

import (
	"cmp"
	"fmt"
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/test/engine"
)

// chance is what two servers may rightly differ in: identifiers, moments,
// tokens and what is left of their lives.
var chance = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`sr[sb]_[0-9A-Za-z_-]+(\.[0-9A-Za-z]+)?`), "TOKEN"},
	{regexp.MustCompile(`"accessor":"[0-9A-Za-z_.]+"`), "ACCESSOR"},
	{regexp.MustCompile(`"(creation_time|ttl|last_renewal_time)":\d+`), "$1"},
	{regexp.MustCompile(`"id":"[0-9A-Za-z]{6}"`), "ID"},
}

func plain(a *servertest.Answer) string {
	text := a.Text()
	for _, c := range chance {
		text = c.pattern.ReplaceAllString(text, c.instead)
	}
	return fmt.Sprint(a.Status, " ", text)
}

// alike are servers that are asked the same, one on each engine. tokens holds,
// for each token that was made, its text on each.
type alike struct {
	t      *testing.T
	names  []string
	sides  []*servertest.Server
	tokens [][]string
}

// ask sends all the same request, %s in the body being a token, and compares.
func (w *alike) ask(rt *rapid.T, method, path, ns, body string, as, about int) {
	made := make([]string, len(w.sides))
	first := ""
	for i, s := range w.sides {
		token, named := root, "none"
		if as < len(w.tokens) {
			token = w.tokens[as][i]
		}
		if about < len(w.tokens) {
			named = w.tokens[about][i]
		}
		if body == "token" {
			body = `{"token":"%s","increment":60}`
		}
		filled := regexp.MustCompile(`%s`).ReplaceAllLiteralString(body, named)
		got := s.Do(w.t, method, path, token, filled, "X-Vault-Namespace", ns, "Content-Type", "application/merge-patch+json")
		made[i] = got.String("auth", "client_token")
		if i == 0 {
			first = plain(got)
		} else if other := plain(got); other != first {
			rt.Fatalf("%s %s in %q: %s\n%s: %s\n%s: %s", method, path, ns, body, w.names[0], first, w.names[i], other)
		}
	}
	if made[0] != "" && len(w.tokens) < 20 {
		w.tokens = append(w.tokens, made)
	}
}

// everyEngine starts a server on each engine.
func everyEngine(t *testing.T) *alike {
	w := &alike{t: t, names: engine.Names()}
	for _, name := range w.names {
		e, err := engine.StartUnsynced(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Errorf("ending %s: %v", name, err)
			}
		})
		s := servertest.Start(t, servertest.Silent, servertest.On(t, e.Template()))
		want := map[string]string{"mem": "inmem", "member": "etcd"}
		if got := s.Do(t, "GET", "sys/seal-status", "", "").String("storage_type"); got != cmp.Or(want[name], name) {
			t.Fatalf("the server on %s has its store in %s", name, got)
		}
		w.sides = append(w.sides, s)
	}
	return w
}

// request is one kind of request; its path and body have {} for a drawn name.
type request struct{ method, path, body string }

var requests = []request{
	{"POST", "kv1/{}", `{"v":"{}"}`}, {"GET", "kv1/{}", ""}, {"DELETE", "kv1/{}", ""}, {"LIST", "kv1/{}", ""}, {"SCAN", "kv1", ""}, {"POST", "kv1/d/{}", `{"v":1}`},
	{"POST", "kv2/data/{}", `{"data":{"v":"{}"}}`}, {"POST", "kv2/data/{}", `{"data":{"w":"{}"},"options":{"cas":1}}`}, {"POST", "kv2/data/{}", `{"data":{"w":2},"options":{"cas":0}}`}, {"GET", "kv2/data/{}", ""}, {"GET", "kv2/data/{}?version=1", ""},
	{"PATCH", "kv2/data/{}", `{"data":{"p":"{}","v":null}}`}, {"DELETE", "kv2/data/{}", ""}, {"POST", "kv2/delete/{}", `{"versions":[1,2]}`}, {"POST", "kv2/undelete/{}", `{"versions":"1,2"}`},
	{"POST", "kv2/destroy/{}", `{"versions":[1]}`}, {"GET", "kv2/metadata/{}", ""}, {"POST", "kv2/metadata/{}", `{"max_versions":2,"custom_metadata":{"k":"{}"}}`}, {"DELETE", "kv2/metadata/{}", ""}, {"LIST", "kv2/metadata", ""},
	{"LIST", "kv2/metadata?limit=1", ""}, {"SCAN", "kv2/metadata", ""}, {"GET", "kv2/subkeys/{}", ""}, {"POST", "kv2/config", `{"max_versions":3}`}, {"GET", "kv2/config", ""},
	{"POST", "sys/policies/acl/{}", `{"policy":"path \"kv1/*\" { capabilities = [\"read\", \"list\"] }"}`}, {"POST", "sys/policies/acl/{}", `{"policy":"path \"kv2/*\" { capabilities = [\"create\", \"patch\"] }"}`},
	{"GET", "sys/policies/acl/{}", ""}, {"DELETE", "sys/policies/acl/{}", ""}, {"LIST", "sys/policies/acl", ""},
	{"POST", "auth/token/create", `{"policies":["{}"],"ttl":"1h"}`}, {"POST", "auth/token/create", `{"policies":["{}"],"num_uses":2,"ttl":"1h"}`}, {"POST", "auth/token/create-orphan", `{"policies":["{}","default"],"ttl":"1h"}`},
	{"POST", "auth/token/create", `{"policies":["{}"],"type":"batch","ttl":"1h"}`}, {"GET", "auth/token/lookup-self", ""}, {"POST", "auth/token/lookup", "token"}, {"POST", "auth/token/renew", "token"}, {"POST", "auth/token/revoke", "token"}, {"POST", "auth/token/revoke-orphan", "token"},
	{"POST", "auth/token/roles/{}", `{"allowed_policies":"{}","orphan":true}`}, {"POST", "auth/token/create/{}", `{"ttl":"1h"}`}, {"LIST", "auth/token/roles", ""}, {"DELETE", "auth/token/roles/{}", ""},
	{"POST", "sys/mounts/kv1", `{"type":"kv"}`}, {"POST", "sys/mounts/kv2", `{"type":"kv-v2"}`}, {"POST", "sys/mounts/{}", `{"type":"kv"}`}, {"DELETE", "sys/mounts/{}", ""}, {"POST", "sys/mounts/kv1/tune", `{"description":"{}","max_lease_ttl":"2h"}`},
	{"POST", "sys/remount", `{"from":"{}","to":"moved"}`}, {"GET", "sys/mounts", ""}, {"POST", "cubbyhole/{}", `{"v":"{}"}`}, {"GET", "cubbyhole/{}", ""}, {"LIST", "cubbyhole", ""},
	{"POST", "sys/namespaces/ns{}", `{}`}, {"LIST", "sys/namespaces", ""}, {"POST", "sys/capabilities-self", `{"paths":["kv1/{}","kv2/data/{}"]}`}, {"GET", "sys/internal/ui/mounts", ""},
}

// TestStoresAnswerAlike gives servers on every engine the same random programs.
func TestStoresAnswerAlike(t *testing.T) {
	every := everyEngine(t)
	world := 0
	seen := map[string]bool{}
	rapid.Check(t, func(rt *rapid.T) {
		w := &alike{t: t, names: every.names, sides: every.sides}
		world++
		ns := fmt.Sprintf("w%d", world) // a namespace of its own: programs do not meet
		w.ask(rt, "POST", "sys/namespaces/"+ns, "", `{}`, 99, 99)
		w.ask(rt, "POST", "sys/mounts/kv1", ns, `{"type":"kv"}`, 99, 99)
		w.ask(rt, "POST", "sys/mounts/kv2", ns, `{"type":"kv-v2"}`, 99, 99)
		names := rapid.SampledFrom([]string{"a", "b", "c"})
		braces := regexp.MustCompile(`\{\}`)
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			r := rapid.SampledFrom(requests).Draw(rt, "request")
			fill := func(string) string { return names.Draw(rt, "name") }
			body := r.body
			if body != "{}" {
				body = braces.ReplaceAllStringFunc(body, fill)
			}
			as, about := rapid.IntRange(0, 12).Draw(rt, "as"), rapid.IntRange(0, 6).Draw(rt, "about")
			w.ask(rt, r.method, braces.ReplaceAllStringFunc(r.path, fill), ns, body, as, about)
			seen[r.method+r.path] = true
		}
	})
	if len(seen) < len(requests)/2 {
		t.Errorf("only %d kinds of request were made", len(seen))
	}
}
