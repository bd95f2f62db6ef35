package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	for _, tc := range []struct{ word, names, want string }{
		{"gett", "get", "get"},
		{"undelet", "delete undelete", "undelete"},
		{"lits", "print list lift", "list"},
		{"put", "patch put", "put"},
		{"same", "lame came", "lame"},
	} {
		if got := Nearest(tc.word, strings.Fields(tc.names)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.word, got, tc.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"ab", "ba", 1}, {"polciy", "policy", 1},
		{"abcd", "badc", 2}, {"ca", "abc", 3},
	} {
		if got := Distance(tc.a, tc.b); got != tc.want {
			t.Errorf("from %q to %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestMeant(t *testing.T) {
	names := []string{"id", "ttl", "type", "token_policies", "token_period", "password"}
	for word, want := range map[string]string{
		"token_polices": "token_policies", "Token-Policies": "token_policies", "tokenPolicies": "token_policies", "tyep": "type", "tll": "ttl", "pasword": "password",
		"": "", "x": "", "xd": "id", "tokens": "", "pass": "", "token_limits": "", "surprise": "", strings.Repeat("p", 1<<20): "",
	} {
		if got := Meant(word, names); got != want {
			t.Errorf("%.20q: %q, want %q", word, got, want)
		}
	}
	if got := Meant("x", nil); got != "" {
		t.Errorf("of no names: %q", got)
	}
}
