package cli

import (
	"slices"
	"strings"
	"testing"
)

// unsealed is a server with three ways to unseal, whose program's version is not its API's.
func unsealed() map[string]answer {
	return map[string]answer{
		"GET sys/seal-status": {200, `{"type":"shamir","initialized":true,"sealed":false,"t":1,"n":1,"version":"1.17.0","program_version":"0.3.0 (abc)",
			"key_slots":[{"kind":"shamir","secret_shares":1,"secret_threshold":1},{"kind":"shamir","secret_shares":3,"secret_threshold":2},{"kind":"file"}]}`},
		"GET sys/leader": {200, `{"ha_enabled":false,"is_self":false}`},
	}
}

// TestStatusTellsAll: the program's version beside the API's, and every way to unseal.
func TestStatusTellsAll(t *testing.T) {
	f := newFake(t, unsealed())
	for line, want := range map[string][]string{
		"status":                        {"\nVersion         0.3.0 (abc)\n", "\nAPI Version     1.17.0\n", "\nKey Slots       shamir (1 of 1 shares), shamir (2 of 3 shares), file\n"},
		"status -format=json":           {`"version": "1.17.0"`, `"program_version": "0.3.0 (abc)"`, `"secret_threshold": 2`},
		"status -field=program_version": {"0.3.0 (abc)"},
	} {
		r := run(t, f, t.TempDir(), line)
		for _, w := range want {
			if r.code != exitOK || !strings.Contains(r.stdout, w) {
				t.Errorf("%s: exit code %d, no %q in\n%s%s", line, r.code, w, r.stdout, r.stderr)
			}
		}
	}
}

// TestStatusOfANamespace: a namespace in force is told of, by who may read it, and an exit code of 0 says that it answers.
func TestStatusOfANamespace(t *testing.T) {
	for _, tc := range []struct {
		namespace, asked string
		answer           answer
		want             string
		code             int
	}{
		{"team", "GET sys/namespaces/team", data(`{"path":"team/","sealed":true}`), "Namespace           team/\nNamespace Sealed    true\n", exitServer},
		{"team/", "GET sys/namespaces/team", data(`{"path":"team/","sealed":false}`), "Namespace Sealed    false\n", exitOK},
		{"team/sub", "GET sys/namespaces/sub X-Vault-Namespace=team", data(`{"path":"team/sub/","sealed":true}`), "Namespace           team/sub/\nNamespace Sealed    true\n", exitServer},
		{"team/sub", "GET sys/namespaces/sub X-Vault-Namespace=team", refused(503, "the namespace team/ is sealed"), "Namespace Sealed    true\n", exitServer},
		{"team", "GET sys/namespaces/team", refused(403, "permission denied"), "Namespace Sealed    not known", exitOK},
		{"team", "GET sys/namespaces/team", answer{404, `{"errors":[]}`}, "", exitLocal},
		{"root", "", answer{}, "HA Enabled", exitOK},
	} {
		answers := unsealed()
		key, _, _ := strings.Cut(tc.asked, " X-")
		answers[key] = tc.answer
		f := newFake(t, answers)
		r := run(t, f, t.TempDir(), "status -namespace="+tc.namespace)
		asked := []string{"GET sys/seal-status", "GET sys/leader", tc.asked}
		if tc.asked == "" {
			asked = asked[:2]
		}
		if r.code != tc.code || !slices.Equal(f.requests, asked) || !strings.Contains(r.stdout, tc.want) {
			t.Errorf("%s, %v: exit code %d, asked %q\n%s%s", tc.namespace, tc.answer, r.code, f.requests, r.stdout, r.stderr)
		}
		if tc.want == "" && !strings.Contains(r.stderr, "There is no namespace team/") {
			t.Errorf("%s: %s", tc.namespace, r.stderr)
		}
	}
}
