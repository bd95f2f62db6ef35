package server

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// aliased is a request that can name one thing in two ways.
type aliased struct {
	pattern string // of the endpoint
	path    string
	alias   string
	name    string
	value   string
	beside  map[string]string // what else it takes
}

func aliases(w *world, root string) []aliased {
	self := map[string]string{}
	ofToken := map[string]string{"token": root}
	info := w.wants(200, "", root, "GET", "auth/token/lookup-self", "")["data"].(map[string]any)
	ofAccessor := map[string]string{"accessor": info["accessor"].(string)}
	all := []aliased{
		{"roles/{role_name}", "auth/token/roles/r", "period", "token_period", "2h", nil},
		{"roles/{role_name}", "auth/token/roles/r", "explicit_max_ttl", "token_explicit_max_ttl", "2h", nil},
		{"roles/{role_name}", "auth/token/roles/r", "bound_cidrs", "token_bound_cidrs", "127.0.0.1", nil},
		{"create", "auth/token/create", "lease", "ttl", "2h", nil},
		{"create-orphan", "auth/token/create-orphan", "lease", "ttl", "2h", nil},
		{"create/{role_name}", "auth/token/create/r", "lease", "ttl", "2h", nil},
		{"policy/{name}", "sys/policy/p", "rules", "policy", `path "x" { capabilities = ["read"] }`, nil},
		{"policies/acl/{name}", "sys/policies/acl/p", "rules", "policy", `path "x" { capabilities = ["read"] }`, nil},
		{"capabilities", "sys/capabilities", "path", "paths", "a/b", ofToken},
		{"capabilities-self", "sys/capabilities-self", "path", "paths", "a/b", self},
		{"capabilities-accessor", "sys/capabilities-accessor", "path", "paths", "a/b", ofAccessor},
		{"mounts/{path...}", "sys/mounts/m%d", "plugin_name", "type", "kv", nil},
		{"auth/{path...}", "sys/auth/m%d", "plugin_name", "type", "kv", nil},
		{"rekey/init", "sys/rekey/init", "Backup", "backup", "true", nil},
		{"rekey-recovery-key/init", "sys/rekey-recovery-key/init", "Backup", "backup", "true", nil},
		{"rotate/root/init", "sys/rotate/root/init", "Backup", "backup", "true", nil},
		{"rotate/recovery/init", "sys/rotate/recovery/init", "Backup", "backup", "true", nil},
		{"leases/renew", "sys/leases/renew", "url_lease_id", "lease_id", "a/b", nil},
		{"leases/revoke", "sys/leases/revoke", "url_lease_id", "lease_id", "a/b", nil},
		{"renew", "sys/renew", "url_lease_id", "lease_id", "a/b", nil},
		{"revoke", "sys/revoke", "url_lease_id", "lease_id", "a/b", nil},
		{"entity-alias", "identity/entity-alias", "entity_id", "canonical_id", "x", nil},
		{"entity-alias/id/{id}", "identity/entity-alias/id/x", "entity_id", "canonical_id", "x", nil},
		{"alias", "identity/alias", "entity_id", "canonical_id", "x", nil},
		{"alias/id/{id}", "identity/alias/id/x", "entity_id", "canonical_id", "x", nil},
	}
	for _, m := range []struct{ method, pattern, path, aliases string }{
		{"jwt", "role/{name}", "role/r", "policies ttl max_ttl period num_uses bound_cidrs"},
		{"oidc", "role/{name}", "role/r", "policies ttl max_ttl period num_uses bound_cidrs"},
		{"kubernetes", "role/{name}", "role/r", "policies ttl max_ttl period num_uses bound_cidrs"},
		{"cert", "certs/{name}", "certs/r", "policies ttl max_ttl period bound_cidrs lease"},
		{"approle", "role/{role_name}", "role/r", "policies period bound_cidr_list"},
		{"approle", "role/{role_name}/policies", "role/r/policies", "policies"},
		{"approle", "role/{role_name}/period", "role/r/period", "period"},
		{"aws", "role/{role}", "role/r", "policies ttl max_ttl period"},
		{"azure", "role/{name}", "role/r", "policies ttl max_ttl period num_uses"},
		{"gcp", "role/{name}", "role/r", "policies ttl max_ttl period bound_zone bound_region"},
		{"userpass", "users/{username}", "users/u", "policies ttl max_ttl bound_cidrs"},
		{"userpass", "users/{username}/policies", "users/u/policies", "policies"},
	} {
		w.ask(root, "POST", "sys/auth/"+m.method, `{"type":"`+m.method+`"}`)
		values := map[string]string{"policies": "p", "num_uses": "2", "bound_cidrs": "127.0.0.1", "bound_cidr_list": "127.0.0.1"}
		names := map[string]string{"bound_zone": "bound_zones", "bound_region": "bound_regions", "lease": "token_ttl", "bound_cidr_list": "secret_id_bound_cidrs"}
		for alias := range strings.FieldsSeq(m.aliases) {
			value, name := cmp.Or(values[alias], "2h"), cmp.Or(names[alias], "token_"+alias)
			all = append(all, aliased{m.pattern, "auth/" + m.method + "/" + m.path, alias, name, value, nil})
		}
	}
	return all
}

// declared are the aliases of all endpoints.
func declared(t *testing.T) []string {
	t.Helper()
	engines, err := Engines()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range engines {
		all := e.Endpoints
		if e.Variant != nil {
			all = append(all, e.Variant(map[string]string{"version": "2"})...)
		}
		for _, ep := range all {
			if ep.Answer == api.Login && ep.Has(api.Public) {
				continue // no policy is asked who logs in
			}
			for _, f := range ep.Request.Fields {
				if f.Alias != "" {
					method := ""
					if e.Auth && e.Type != "token" {
						method = e.Type + " " // methods share patterns
					}
					seen[method+ep.Pattern+" "+f.Name+" "+f.Alias] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// asker asks as the holder of a policy with conditions, each time anew.
func (w *world) asker(t *testing.T, root string, a aliased) func(conditions, name string) int {
	n := 0
	return func(conditions, name string) int {
		t.Helper()
		n++
		path := a.path
		if strings.Contains(path, "%d") {
			path = fmt.Sprintf(path, n)
		}
		text, err := json.Marshal(fmt.Sprintf(`path "%s" { capabilities = ["create", "update", "sudo"] %s }`, path, conditions))
		if err != nil {
			t.Fatal(err)
		}
		w.wants(204, "", root, "POST", "sys/policies/acl/asker", `{"policy":`+string(text)+`}`)
		made := w.wants(200, "", root, "POST", "auth/token/create", `{"policies":["asker"],"no_default_policy":true}`)
		members := maps.Clone(a.beside)
		if members == nil {
			members = map[string]string{}
		}
		if name != "" {
			members[name] = a.value
		}
		body, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		status, _ := w.ask(made["auth"].(map[string]any)["client_token"].(string), "POST", path, string(body))
		return status
	}
}

// beside lists what else the request takes, for a rule that allows it.
func (a aliased) others() string {
	var out string
	for name := range a.beside {
		out += fmt.Sprintf(`, "%s" = []`, name)
	}
	return out
}

func TestAliasIsNoWayRoundARule(t *testing.T) {
	w := startFor(t, Config{DataDir: t.TempDir(), LocalSlot: true})
	root := w.printed()
	var covered []string
	for _, a := range aliases(w, root) {
		method := ""
		if rest, ok := strings.CutPrefix(a.path, "auth/"); ok && !strings.HasPrefix(rest, "token/") {
			method, _, _ = strings.Cut(rest, "/")
			method += " "
		}
		covered = append(covered, method+a.pattern+" "+a.alias+" "+a.name)
		t.Run(a.path+" "+a.alias, func(t *testing.T) {
			ask := w.asker(t, root, a)
			for _, names := range [][2]string{{a.name, a.alias}, {a.alias, a.name}, {a.name, a.name}} {
				ruled, sent := names[0], names[1]
				for conditions, passes := range map[string]bool{
					"": true,
					fmt.Sprintf(`denied_parameters = { "%s" = [] }`, ruled):                                    false,
					fmt.Sprintf(`denied_parameters = { "%s" = [%q] }`, ruled, a.value):                         false,
					fmt.Sprintf(`denied_parameters = { "%s" = ["no"] }`, ruled):                                true,
					fmt.Sprintf(`allowed_parameters = { "%s" = [] %s }`, ruled, a.others()):                    true,
					fmt.Sprintf(`allowed_parameters = { "%s" = [%q] %s }`, ruled, a.value, a.others()):         true,
					fmt.Sprintf(`allowed_parameters = { "%s" = ["no"] %s }`, ruled, a.others()):                false,
					fmt.Sprintf(`allowed_parameters = { "%s" = ["no"], "*" = [] }`, ruled):                     false,
					fmt.Sprintf(`required_parameters = ["%s"]`, ruled):                                         true,
					fmt.Sprintf(`required_parameters = ["%s"] allowed_parameters = { "none" = [] }`, ruled):    false,
					fmt.Sprintf(`required_parameters = ["another"] allowed_parameters = { "%s" = [] }`, ruled): false,
				} {
					if status := ask(conditions, sent); (status != 403) != passes {
						t.Errorf("%s, sent as %s: %d", conditions, sent, status)
					}
				}
				if status := ask(fmt.Sprintf(`required_parameters = ["%s"]`, ruled), ""); status != 403 {
					t.Errorf("%s is required, nothing sent: %d", ruled, status)
				}
			}
		})
	}
	slices.Sort(covered)
	if want := declared(t); !slices.Equal(covered, want) {
		t.Errorf("tried %q, declared are %q", covered, want)
	}
}

// What is sent under an alias does what it does under the name.
func TestAliasDoesWhatTheNameDoes(t *testing.T) {
	w := startFor(t, Config{DataDir: t.TempDir(), LocalSlot: true})
	root := w.printed()
	for body, want := range map[string]string{
		`{"period":"2h"}`:                     `"period":7200,`,
		`{"token_period":"2h"}`:               `"period":0,`,
		`{"token_period":"2h","period":"1h"}`: `"token_period":7200`,
		`{"token_period":"","period":"1h"}`:   `"token_period":3600`,
		`{"bound_cidrs":"127.0.0.1"}`:         `"token_bound_cidrs":["127.0.0.1"]`,
	} {
		w.wants(204, "", root, "DELETE", "auth/token/roles/r", "")
		if status, out := w.ask(root, "POST", "auth/token/roles/r", body); status >= 300 {
			t.Fatalf("%s: %d %v", body, status, out)
		}
		w.wants(200, want, root, "GET", "auth/token/roles/r", "")
	}
	w.wants(200, "ignoring the deprecated value", root, "POST", "auth/token/roles/r", `{"token_period":"1h","period":"1h"}`)
	w.wants(200, "rules is deprecated", root, "POST", "sys/policy/p", `{"rules":"path \"x\" { capabilities = [\"read\"] }"}`)
	w.wants(204, "", root, "POST", "sys/mounts/one", `{"type":"plugin","plugin_name":"kv"}`)
	w.wants(204, "", root, "POST", "sys/mounts/two", `{"plugin_name":"kv"}`)
	w.wants(400, "period: not a duration", root, "POST", "auth/token/roles/r", `{"period":"x"}`)
}
