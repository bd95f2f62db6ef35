package chaos

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Settings of auth methods that people and programs log in by.
const (
	user    = "auth/userpass/users/ann"
	appRole = "auth/approle/role/app"
	right   = "battery-staple-9" // everybody's password
)

// people are probes of who logs in, and of what they may by their entity and its groups. Ann may read something by a group, Bob may not by
// another, and Eve's entity is disabled.
func (f *fleet) people(t *testing.T, c *client) []probe {
	t.Helper()
	for _, r := range [][2]string{
		{"sys/policies/acl/team", `{"policy":"path \"plain/s1\" { capabilities = [\"read\"] }"}`},
		{"sys/auth/userpass", `{"type":"userpass"}`},
		{"sys/auth/userpass/tune", `{"user_lockout_config":{"lockout_disable":"true"}}`},
		{"sys/auth/approle", `{"type":"approle"}`},
		{user, `{"password":"` + right + `"}`},
		{"auth/userpass/users/bob", `{"password":"` + right + `","token_policies":"wide"}`},
		{"auth/userpass/users/eve", `{"password":"` + right + `","token_policies":"wide"}`},
		{appRole, `{"token_policies":"wide"}`},
		{"sys/namespaces/tenant", `{}`},
		{"tenant/sys/mounts/kv", `{"type":"kv","options":{"version":"1"}}`},
		{"tenant/kv/s", `{"n":7}`},
	} {
		must(t, c.call("POST", r[0], r[1], nil))
	}
	ann, bob, eve := c.enter(t, "ann"), c.enter(t, "bob"), c.enter(t, "eve")
	must(t, c.call("POST", "identity/group", fmt.Sprintf(`{"name":"readers","policies":"team","member_entity_ids":%q}`, ann.Entity), nil))
	must(t, c.call("POST", "identity/group", fmt.Sprintf(`{"name":"kept-out","policies":"narrow","member_entity_ids":%q}`, bob.Entity), nil))
	must(t, c.call("POST", "identity/entity/id/"+eve.Entity, `{"disabled":true}`, nil))
	itsTokens := []string{at("auth/userpass/")}
	byPassword := append(itsTokens, enforcements, methods)
	all := []probe{
		{name: "group", rests: append(itsTokens, at("plain/")), ask: func(c *client) (bool, string) { return c.knows("plain/s1", []string{ann.Token}, 101, "data", "n") }},
		{name: "group that denies", rests: itsTokens, ask: func(c *client) (bool, string) { return newHolder(c, bob.Token).isKeptOut("GET", "plain/s0", nil) }},
		{name: "disabled entity", rests: itsTokens, ask: func(c *client) (bool, string) { return newHolder(c, eve.Token).isKeptOut("GET", "plain/s0", nil) }},
		{name: "password", rests: byPassword, ask: func(c *client) (bool, string) {
			return c.isLetIn("auth/userpass/login/ann", map[string]string{"password": right})
		}},
		{name: "wrong password", rests: byPassword, ask: func(c *client) (bool, string) {
			return c.isKeptOut("POST", "auth/userpass/login/ann", map[string]string{"password": "wrong"})
		}},
		{name: "disabled login", rests: byPassword, ask: func(c *client) (bool, string) {
			return c.isKeptOut("POST", "auth/userpass/login/eve", map[string]string{"password": right})
		}},
		{name: "namespace", ask: func(c *client) (bool, string) { return c.knows("tenant/kv/s", []string{f.root}, 7, "data", "n") }},
	}
	creds := c.program(t, appRole)
	all = append(all, probe{name: "secret id", rests: []string{at("auth/approle/"), enforcements, methods}, ask: func(c *client) (bool, string) { return c.isLetIn("auth/approle/login", creds) }})
	for _, path := range []string{"identity/entity/id/" + ann.Entity, "identity/group/name/readers", user, appRole} {
		mount, _, _ := strings.Cut(strings.TrimPrefix(path, "auth/"), "/")
		if strings.HasPrefix(path, "auth/") {
			mount = "auth/" + mount
		}
		all = append(all, probe{name: path, rests: []string{at(mount + "/")}, ask: func(c *client) (bool, string) { return newHolder(c, f.root).isThere("GET", path, nil) }})
	}
	return all
}

// entry is what a login gives.
type entry struct {
	Token  string `json:"client_token"`
	Entity string `json:"entity_id"`
}

func (c *client) enter(t *testing.T, name string) entry {
	t.Helper()
	var got struct{ Auth entry }
	must(t, c.call("POST", "auth/userpass/login/"+name, `{"password":"`+right+`"}`, &got))
	return got.Auth
}

// program is what a program logs in with by a role.
func (c *client) program(t *testing.T, role string) map[string]any {
	t.Helper()
	var got struct{ Data map[string]any }
	creds := map[string]any{}
	for method, path := range map[string]string{"GET": role + "/role-id", "POST": role + "/secret-id"} {
		must(t, c.call(method, path, "", &got))
		for _, name := range []string{"role_id", "secret_id"} {
			if v, ok := got.Data[name]; ok {
				creds[name] = v
			}
		}
	}
	return creds
}

// isLetIn logs in with what is right: that it is not would be a lie. Where more is asked for than is known to be needed, it is not let in.
func (c *client) isLetIn(path string, body any) (in bool, lie string) {
	a, err := c.ask("POST", path, body)
	if err == nil && a.status != http.StatusOK {
		lie = fmt.Sprintf("%s is answered with %d: %v", path, a.status, a.body["errors"])
	}
	return err == nil && lie == "" && a.text("auth", "client_token") != "", lie
}

// isThere asks for what there is and is right: that it is not would be a lie.
func (c *client) isThere(method, path string, body any) (right bool, lie string) {
	a, err := c.ask(method, path, body)
	if err == nil && a.status != http.StatusOK {
		lie = fmt.Sprintf("%s is answered with %d: %v", path, a.status, a.body["errors"])
	}
	return err == nil && lie == "", lie
}

// isKeptOut asks for what must not be had.
func (c *client) isKeptOut(method, path string, body any) (right bool, lie string) {
	a, err := c.ask(method, path, body)
	if err == nil && a.status == http.StatusOK {
		lie = path + " lets through who is kept out"
	}
	return err == nil && lie == "", lie
}
