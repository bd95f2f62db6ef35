package server_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// TestSelfIsTheCaller names another token where the calling one is meant: the
// answer is about the calling one, and says so.
func TestSelfIsTheCaller(t *testing.T) {
	d := newDev(t)
	other, _ := d.want(200, d.ask("POST", "auth/token/create", `{"ttl":"1h","display_name":"other"}`, "root")).Auth["client_token"].(string)
	mine, _ := d.want(200, d.ask("POST", "auth/token/create", `{"lease":"2h","display_name":"mine"}`, "root")).Auth["client_token"].(string)
	for _, path := range []string{"lookup-self", "renew-self"} {
		a := d.want(200, d.ask("POST", "auth/token/"+path, `{"token":"`+other+`"}`, mine))
		if !slices.ContainsFunc(a.Warnings, func(w string) bool { return strings.Contains(w, "token is ignored") }) || strings.Contains(a.text, other) {
			t.Errorf("%s: %s", path, a.text)
		}
		if a.Data["display_name"] != nil && (a.Data["display_name"] != "token-mine" || a.Data["creation_ttl"] != 7200.0) {
			t.Errorf("%s: %s", path, a.text)
		}
		if a = d.want(200, d.ask("POST", "auth/token/"+path, `{"token":"`+mine+`"}`, mine)); a.Warnings != nil {
			t.Errorf("%s of itself: %v", path, a.Warnings)
		}
	}
}

// TestPoliciesBelow lists as ?list=true on a policy does: no name has a slash, so
// there is nothing below one, and it is neither read nor an error.
// An alias is written as logins of its mount name it: by the directory's method, as the mount's settings say. Who has written it
// with capitals once locked that person out.
func TestAliasesOfADirectory(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "POST", "sys/auth/ldap", servertest.Root, `{"type":"ldap"}`)
	accessor := s.Want(t, 200, "GET", "sys/auth", servertest.Root, "").String("data", "ldap/", "accessor")
	named := func(kind, name string) string {
		t.Helper()
		id := s.Want(t, 200, "POST", "identity/"+kind+"-alias", servertest.Root, `{"name":"`+name+`","mount_accessor":"`+accessor+`"}`).String("data", "id")
		return s.Want(t, 200, "GET", "identity/"+kind+"-alias/id/"+id, servertest.Root, "").String("data", "name")
	}
	for what, want := range map[[2]string]string{{"entity", "Alice"}: "alice", {"group", "Engineers"}: "engineers", {"entity", "Bob  B."}: "bob b."} {
		if got := named(what[0], what[1]); got != want {
			t.Errorf("%v is called %q, want %q", what, got, want)
		}
	}
	found := s.Want(t, 200, "POST", "identity/lookup/entity", servertest.Root, `{"alias_name":"ALICE","alias_mount_accessor":"`+accessor+`"}`)
	if found.String("data", "id") == "" {
		t.Errorf("the entity is not found by another spelling: %s", found.Body)
	}
	s.Want(t, 200, "POST", "auth/ldap/config", servertest.Root, `{"case_sensitive_names":true,"url":"ldap://127.0.0.1"}`)
	if got := named("entity", "Cy"); got != "Cy" {
		t.Errorf("where capitals count, Cy is called %q", got)
	}
}

func TestPoliciesBelow(t *testing.T) {
	d := newDev(t)
	for _, path := range []string{"sys/policies/acl/default", "sys/policy/default"} {
		d.want(200, d.ask("GET", path, "", "root"))
		d.want(200, d.ask("GET", path+"?list=false", "", "root"))
		d.want(404, d.ask("GET", path+"?list=true", "", "root"))
		d.want(404, d.ask("LIST", path, "", "root"))
	}
}
