package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// teamPolicy is a policy of twenty rules such as an organisation keeps for
// each of its teams.
func teamPolicy(i int) string {
	var b strings.Builder
	for j := range 16 {
		fmt.Fprintf(&b, "path \"secret/data/team-%d/app-%d/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\"] }\n", i, j)
	}
	fmt.Fprintf(&b, `
path "secret/metadata/team-%[1]d/*" { capabilities = ["list", "read"] }
path "secret/data/+/shared-%[1]d/+/config" { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "secret/data/team-%[1]d/app-3/root-password" { capabilities = ["deny"] }
`, i)
	return b.String()
}

func teamPolicies(b testing.TB, n int) []*Policy {
	policies := make([]*Policy, n)
	for i := range policies {
		p, err := Parse(fmt.Sprintf("team-%d", i), teamPolicy(i))
		if err != nil {
			b.Fatal(err)
		}
		policies[i] = p
	}
	return policies
}

var benchRequests = []struct {
	name string
	req  Request
	want Reason
}{
	{"exact", Request{Path: "auth/token/lookup-self", Op: Read}, Granted},
	{"prefix", Request{Path: "secret/data/team-0/app-7/db/password", Op: Read}, Granted},
	{"plus", Request{Path: "secret/data/billing/shared-0/eu/config", Op: Read}, Granted},
	{"list", Request{Path: "secret/metadata/team-0/app-7/", Op: List}, Granted},
	{"denied", Request{Path: "secret/data/team-0/app-3/root-password", Op: Read}, Denied},
	{"none", Request{Path: "secret/data/team-none/x", Op: Read}, NoRule},
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		acl := Compile(time.Time{}, teamPolicies(b, n)...)
		for _, r := range benchRequests {
			b.Run(fmt.Sprintf("%dpolicies/%s", n, r.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if acl.Decide(r.req).Reason != r.want {
						b.Fatal("wrong decision")
					}
				}
			})
		}
	}
}

func BenchmarkDecideParameters(b *testing.B) {
	acl := compile(b, `path "auth/token/create" {
		capabilities       = ["update"]
		denied_parameters  = { "policies" = ["root", "admin*"] }
		allowed_parameters = { "policies" = [], "ttl" = ["1h", "24h"] }
	}`)
	req := Request{Path: "auth/token/create", Op: Update, Params: ParamMap{"policies": []any{"a", "b"}, "ttl": "24h"}}
	b.ReportAllocs()
	for b.Loop() {
		if !acl.Decide(req).Allowed {
			b.Fatal("wrong decision")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	src := teamPolicy(1)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := Parse("p", src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		policies := teamPolicies(b, n)
		b.Run(fmt.Sprintf("%dpolicies", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Compile(time.Time{}, policies...)
			}
		})
	}
}

// TestDecideDoesNotAllocate pins the hot path: every kind of rule, with
// parameters given but no conditions on them.
func TestDecideDoesNotAllocate(t *testing.T) {
	acl := Compile(time.Time{}, teamPolicies(t, 10)...)
	params := ParamMap{"version": "3"}
	for _, r := range benchRequests {
		r.req.Params = params
		if d := acl.Decide(r.req); d.Reason != r.want {
			t.Errorf("%s: %v", r.name, d.Reason)
		}
		if n := testing.AllocsPerRun(100, func() { acl.Decide(r.req) }); n != 0 {
			t.Errorf("%s: %v allocations", r.name, n)
		}
	}
}
