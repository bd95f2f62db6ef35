package server_test

import (
	"slices"
	"strings"
	"testing"
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
func TestPoliciesBelow(t *testing.T) {
	d := newDev(t)
	for _, path := range []string{"sys/policies/acl/default", "sys/policy/default"} {
		d.want(200, d.ask("GET", path, "", "root"))
		d.want(200, d.ask("GET", path+"?list=false", "", "root"))
		d.want(404, d.ask("GET", path+"?list=true", "", "root"))
		d.want(404, d.ask("LIST", path, "", "root"))
	}
}
