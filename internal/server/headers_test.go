package server

import (
	"slices"
	"strings"
	"testing"
)

func TestPolicyHeaders(t *testing.T) {
	c, err := ParseConfig("c.hcl", []byte(`policy_headers = ["x-device", "X-Device", "X_Site-2"]`))
	if err != nil || !slices.Equal(c.PolicyHeaders, []string{"X-Device", "X_site-2"}) {
		t.Errorf("%v, %v", c.PolicyHeaders, err)
	}
	for text, says := range map[string]string{
		`policy_headers = "X-Device"`:                               "must be a list",
		"\n" + `policy_headers = ["x-vault-token"]`:                 "c.hcl:2: policy_headers: X-Vault-Token carries a credential",
		`policy_headers = ["authorization"]`:                        "carries a credential",
		`policy_headers = ["a b"]`:                                  "not the name of a header",
		`policy_headers = [""]`:                                     "not the name of a header",
		`policy_headers = [["x"]]`:                                  "not the name of a header",
		`policy_headers = [` + strings.Repeat(`"x", `, 33) + `"y"]`: "more than 32",
		`policy_headers = ["` + strings.Repeat("x", 129) + `"]`:     "not the name of a header",
		"\n" + `policy_headers = ["é"]`:                             "c.hcl:2",
	} {
		if _, err := ParseConfig("c.hcl", []byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}
