package compat

import "testing"

// TestOpenAPIShowsWhatTheCallerReaches asks for the document of all endpoints with and without a token: mounts are shown
// only to those whose policies reach into them.
func TestOpenAPIShowsWhatTheCallerReaches(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mine, _ := c.freshKV2(t)
		theirs, _ := c.freshKV2(t)
		reader := c.bearer(t, `path "`+mine+`/*" { capabilities = ["read"] }`)
		for _, try := range []struct {
			who               string
			answer            answer
			mine, theirs, sys bool
		}{
			{"root", c.send(t, "GET", "/v1/sys/internal/specs/openapi", ""), true, true, true},
			{"a reader", reader.send(t, "GET", "/v1/sys/internal/specs/openapi", ""), true, false, true},
			{"nobody", c.send(t, "GET", "/v1/sys/internal/specs/openapi", "", "X-Vault-Token", ""), false, false, true},
		} {
			equal(t, "status for "+try.who, try.answer.status, 200)
			paths, _ := try.answer.body["paths"].(map[string]any)
			for path, want := range map[string]bool{"/" + mine + "/data/{path}": try.mine, "/" + theirs + "/data/{path}": try.theirs, "/sys/mounts/{path}": try.sys} {
				if _, shown := paths[path]; shown != want {
					t.Errorf("%s is shown %s: %v, want %v", try.who, path, shown, want)
				}
			}
		}
		equal(t, "status for a bad token", c.send(t, "GET", "/v1/sys/internal/specs/openapi", "", "X-Vault-Token", "bad").status, 403)
		const ci = `{"generic_mount_paths":true,"context":"ci"}`
		equal(t, "status for nobody's own names", c.send(t, "POST", "/v1/sys/internal/specs/openapi", ci, "X-Vault-Token", "").status, 400)
		generic := c.send(t, "POST", "/v1/sys/internal/specs/openapi", ci).body
		equal(t, "an operation's name", at(generic, "paths./auth/token/create.post.operationId"), "auth-token-write-create-ci")
	})
}

// TestHelpIsForThePath asks for help on paths, also on those that take no read.
func TestHelpIsForThePath(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, _ := c.freshKV2(t)
		for path, part := range map[string]string{
			mount + "/data/x":    "PATCH " + mount + "/data/{path...}",
			mount + "/destroy/x": "Numbers of the versions.",
			"sys/mounts/x":       "Type of secret engine",
			"sys/capabilities":   "paths (list of strings)",
		} {
			a := c.send(t, "GET", "/v1/"+path+"?help=1", "")
			equal(t, "status of help on "+path, a.status, 200)
			text, _ := a.body["help"].(string)
			holds(t, "help on "+path, text, part)
			if paths, _ := at(a.body, "openapi.paths").(map[string]any); len(paths) != 1 {
				t.Errorf("help on %s describes %d paths, want 1", path, len(paths))
			}
		}
	})
}
