package server

import (
	"encoding/json"
	"fmt"
	"testing"
)

// TestTypeIsJudgedByWhatItMeans mounts the same engine under all the names of its
// type: a policy's rule about one of them is about all that mean it.
func TestTypeIsJudgedByWhatItMeans(t *testing.T) {
	w := startFor(t, Config{DataDir: t.TempDir(), LocalSlot: true})
	root := w.printed()
	first := []string{`"type":"kv"`, `"type":"kv-v1"`, `"type":"generic"`, `"type":"kv","options":{"version":"1"}`, `"type":"generic","options":{"version":"2"}`,
		`"plugin_name":"kv-v1"`, `"type":"plugin","plugin_name":"kv"`, `"type":"plugin","plugin_name":"generic"`}
	second := []string{`"type":"kv-v2"`, `"type":"kv","options":{"version":"2"}`, `"type":"kv","options":{"version":2}`, `"type":"kv-v2","options":{"version":"1"}`,
		`"plugin_name":"kv-v2"`, `"type":"plugin","plugin_name":"kv-v2"`, `"type":"plugin","plugin_name":"kv","options":{"version":"2"}`}
	names := map[string][2]bool{"kv": {true, true}, "kv-v1": {true, false}, "generic": {true, false}, "kv-v2": {false, true}, "KV": {true, true}, "kv*": {true, true}, "lend": {}}
	n := 0
	for listed, means := range names {
		for version, bodies := range [][]string{first, second} {
			for _, body := range bodies {
				for conditions, passes := range map[string]bool{
					fmt.Sprintf(`denied_parameters = { "type" = [%q] }`, listed):                                              !means[version],
					fmt.Sprintf(`denied_parameters = { "plugin_name" = [%q] }`, listed):                                       !means[version],
					fmt.Sprintf(`allowed_parameters = { "type" = [%q], "options" = [], "plugin_name" = [] }`, listed):         means[version] && listed != "KV",
					fmt.Sprintf(`allowed_parameters = { "type" = [%q], "options" = [], "plugin_name" = [%q] }`, "no", listed): false,
				} {
					n++
					path := fmt.Sprintf("sys/mounts/m%d", n)
					text, err := json.Marshal(fmt.Sprintf(`path "%s" { capabilities = ["create", "update", "sudo"] %s }`, path, conditions))
					if err != nil {
						t.Fatal(err)
					}
					w.wants(204, "", root, "POST", "sys/policies/acl/asker", `{"policy":`+string(text)+`}`)
					made := w.wants(200, "", root, "POST", "auth/token/create", `{"policies":["asker"],"no_default_policy":true}`)
					status, _ := w.ask(made["auth"].(map[string]any)["client_token"].(string), "POST", path, "{"+body+"}")
					if (status == 204) != passes || (status == 403) == passes {
						t.Errorf("{%s} with %s: status %d", body, conditions, status)
					}
				}
			}
		}
	}
}

// TestExplainJudgesWhatItMeans asks about such a request instead of making it.
func TestExplainJudgesWhatItMeans(t *testing.T) {
	w := startFor(t, Config{DataDir: t.TempDir(), LocalSlot: true})
	root := w.printed()
	w.wants(204, "", root, "POST", "sys/policies/acl/asker",
		`{"policy":"path \"sys/mounts/m\" { capabilities = [\"create\", \"update\", \"sudo\"] denied_parameters = { \"type\" = [\"kv\"] } }"}`)
	for kind, allowed := range map[string]bool{"kv-v2": false, "kv": false, "lend": true} {
		a := w.wants(200, "", root, "POST", "sys/policies/explain",
			`{"policies":["asker"],"operation":"update","path":"sys/mounts/m","parameters":{"type":"`+kind+`"}}`)
		if got := a["data"].(map[string]any)["allowed"]; got != allowed {
			t.Errorf("%s: allowed %v", kind, got)
		}
	}
}
