package cli

import (
	"fmt"
	"strings"
	"testing"
)

// TestRevokeDryRun counts the leases below a path, at any depth, and ends none.
func TestRevokeDryRun(t *testing.T) {
	var many []string
	for i := range mostLeases + 1 {
		many = append(many, fmt.Sprintf("%q", fmt.Sprint("l", i)))
	}
	list := func(path string) string {
		return fmt.Sprintf("GET sys/leases/lookup/%s?limit=%d&list=true", path, mostLeases+1)
	}
	f := newFake(t, map[string]answer{
		list("db/creds"):         data(`{"keys":["app/","gone/","top"]}`),
		list("db/creds/app"):     data(`{"keys":["one","two"]}`),
		list("db/creds/gone"):    {404, `{"errors":[]}`},
		list("many"):             data(`{"keys":[` + strings.Join(many, ",") + `]}`),
		list("db/creds/refused"): refused(403, "permission denied"),
	})
	for line, want := range map[string]string{
		"-prefix db/creds":              "Would end 3 leases at db/creds, tokens among them where logins made them: db/creds/app/one, db/creds/app/two, db/creds/top. Nothing was changed.",
		"-prefix db/creds/":             "Would end 3 leases",
		"-prefix -format=json db/creds": `"db/creds/app/two"`,
		"-prefix none":                  "Would end no lease: none is at none. Nothing was changed.",
		"-prefix many":                  "Would end more than 1000 leases at many",
		"-prefix db/creds/refused":      "",
		"db/creds/app/one":              "",
	} {
		f.requests = nil
		r := run(t, f, t.TempDir(), "lease revoke -dry-run "+line)
		if (want == "") != (r.code != exitOK) || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: exit code %d: %s%s", line, r.code, r.stdout, r.stderr)
		}
		for _, sent := range f.requests {
			if !strings.HasPrefix(sent, "GET sys/leases/lookup/") {
				t.Errorf("%s: sent %s", line, sent)
			}
		}
	}
}
