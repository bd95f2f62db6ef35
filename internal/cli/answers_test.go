package cli

import (
	"fmt"
	"maps"
)

// data wraps an object in the dialect's envelope.
func data(object string) answer {
	return answer{200, fmt.Sprintf(`{"request_id":"r-1","lease_id":"","renewable":false,"lease_duration":0,
		"data":%s,"wrap_info":null,"warnings":null,"auth":null}`, object)}
}

func refused(status int, message string) answer {
	return answer{status, fmt.Sprintf(`{"errors":[%q]}`, message)}
}

// cannedAnswers are those of a server with a KV mount of each version.
func cannedAnswers() map[string]answer {
	all := kvAnswers()
	maps.Copy(all, otherAnswers())
	maps.Copy(all, nodeAnswers())
	return all
}

func kvAnswers() map[string]answer {
	v2 := data(`{"path":"secret/","type":"kv","options":{"version":"2"}}`)
	v1 := data(`{"path":"old/","type":"kv","options":null}`)
	done := answer{204, ""}
	version := `{"created_time":"2026-01-02T03:04:05Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":7}`
	deleted := `{"created_time":"2026-01-02T03:04:05Z","deletion_time":"2026-02-02T03:04:05Z","destroyed":false,"version":6}`
	return map[string]answer{
		"GET sys/internal/ui/mounts/secret/a":    v2,
		"GET sys/internal/ui/mounts/secret/gone": v2,
		"GET sys/internal/ui/mounts/secret/none": v2,
		"GET sys/internal/ui/mounts/secret":      v2,
		"GET sys/internal/ui/mounts/old/a":       v1,
		"GET sys/internal/ui/mounts":             data(`{"secret":{"secret/":{"type":"kv"},"pki/":{"type":"pki"}},"auth":{}}`),
		"GET sys/internal/ui/mounts/secret/team": v2,
		"GET secret/metadata/team?list=true":     data(`{"keys":["x","y/"]}`),

		"GET sys/internal/ui/mounts/team/a":         refused(403, "preflight capability check returned 403"),
		"GET secret/foo":                            {404, `{"request_id":"r-4","data":null,"warnings":["Invalid path for a versioned K/V secrets engine"]}`},
		"DELETE secret/foo":                         {404, `{"request_id":"r-4","data":null,"warnings":["Invalid path for a versioned K/V secrets engine"]}`},
		"GET secret/foo?list=true":                  {404, `{"request_id":"r-4","data":null,"warnings":["Invalid path for a versioned K/V secrets engine"]}`},
		"PUT identity/lookup/entity":                {204, ""},
		"PUT auth/approle/role/ci/secret-id/lookup": {204, ""},
		"PUT auth/approle/role/nope/secret-id":      {404, `{"errors":[]}`},
		"PUT warned":                                {200, `{"request_id":"r-5","data":null,"warnings":["a field means nothing"]}`},
		"GET secret/data/a":                         data(`{"data":{"pass":"p&<","user":"ann","n":12345678901234567890},"metadata":` + version + `}`),
		"GET secret/data/a?version=2":               data(`{"data":{"user":"bob"},"metadata":` + version + `}`),
		"GET secret/data/gone":                      {404, data(`{"data":null,"metadata":` + deleted + `}`).body},
		"PUT secret/data/a":                         data(version),
		"PATCH secret/data/a":                       refused(405, "unsupported operation"),
		"PUT secret/data/gone":                      refused(400, "check-and-set parameter did not match the current version"),
		"DELETE secret/data/a":                      done,
		"PUT secret/delete/a":                       done,
		"PUT secret/undelete/a":                     done,
		"PUT secret/destroy/a":                      done,
		"PUT secret/metadata/a":                     done,
		"PATCH secret/metadata/a":                   done,
		"DELETE secret/metadata/a":                  done,
		"GET secret/metadata/a": data(`{"cas_required":false,"max_versions":0,"delete_version_after":"0s",
			"versions":{"10":` + version + `,"9":` + deleted + `}}`),
		"GET secret/metadata?list=true":         data(`{"keys":["b","a","team/"]}`),
		"GET secret/metadata?scan=true":         data(`{"keys":["b","a","team/x"]}`),
		"GET secret/metadata?limit=1&list=true": data(`{"keys":["a"]}`),
		"GET old/a":                             {200, `{"request_id":"r-3","lease_duration":2764800,"data":{"k":"v"}}`},
		"PUT old/a":                             done,
		"DELETE old/a":                          done,
		"PUT sys/mounts/old/tune":               done,
	}
}

func otherAnswers() map[string]answer {
	done := answer{204, ""}
	auth := answer{200, `{"request_id":"r-2","data":null,"auth":{"client_token":"s.new","accessor":"acc",
		"policies":["default","ci"],"token_policies":["default","ci"],"identity_policies":[],"metadata":{"who":"ann"},
		"lease_duration":5400,"renewable":true,"orphan":false}}`}
	lookup := `{"id":"s.mine","accessor":"acc","ttl":3600,"creation_ttl":86400,"policies":["default"],"meta":null,"renewable":true}`
	mounts := `{"secret/":{"type":"kv","accessor":"kv_1","description":"the team's","options":{"version":"2"},"uuid":"u-1",
		"config":{"default_lease_ttl":0,"max_lease_ttl":7200,"force_no_cache":false},"local":false,"seal_wrap":false},
		"sys/":{"type":"system","accessor":"system_1","description":"","options":null,"config":{"default_lease_ttl":0}}}`
	sealed := `{"type":"shamir","initialized":true,"sealed":true,"t":3,"n":5,"progress":1,"nonce":"abc","version":"1.2.3"}`
	namespace := data(`{"id":"n1","path":"team/","custom_metadata":{"owner":"ann"}}`)
	return map[string]answer{
		"GET sys/mounts/secret/tune": {200, `{"data":{"default_lease_ttl":2764800,"max_lease_ttl":5400},"warnings":["be careful"]}`},
		"GET wrapped": {200, `{"data":null,"wrap_info":{"token":"s.wrap","accessor":"wacc","ttl":60,
			"creation_time":"2026-01-02T03:04:05Z","creation_path":"wrapped"}}`},
		"PUT sys/rotate":               done,
		"PUT write/fails":              {500, `{"errors":["1 error occurred:\n\t* deep trouble\n\n"],"request_id":"r-9"}`},
		"GET sealed":                   refused(503, "Vault is sealed"),
		"GET limited":                  refused(429, "request path \"limited\": rate limit quota exceeded"),
		"DELETE gone":                  done,
		"GET sys/mounts?help=1":        {200, `{"help":"Lists the mounts."}`},
		"PUT sys/wrapping/unwrap":      data(`{"k":"v"}`),
		"PUT auth/token/create":        auth,
		"PUT auth/token/create/r":      auth,
		"GET auth/token/lookup-self":   data(lookup),
		"PUT auth/token/lookup":        data(lookup),
		"PUT auth/token/renew-self":    auth,
		"PUT auth/token/revoke":        done,
		"PUT auth/token/revoke-self":   done,
		"PUT auth/token/revoke-orphan": done,
		"PUT sys/capabilities-self":    data(`{"secret/data/a":["update","read"],"capabilities":["update","read"]}`),

		"GET sys/policies/acl?list=true":  data(`{"keys":["default","ci"]}`),
		"GET sys/policies/acl/ci":         data(`{"name":"ci","policy":"path \"a\" {}\n"}`),
		"PUT sys/policies/acl/ci":         done,
		"DELETE sys/policies/acl/ci":      done,
		"GET sys/mounts":                  data(mounts),
		"PUT sys/mounts/kv":               done,
		"PUT sys/mounts/team":             done,
		"PUT sys/mounts/team/tune":        done,
		"DELETE sys/mounts/team":          done,
		"PUT sys/remount":                 data(`{"migration_id":"m-1"}`),
		"GET sys/remount/status/m-1":      data(`{"migration_id":"m-1","migration_info":{"status":"success"}}`),
		"GET sys/auth":                    data(`{"token/":{"type":"token","accessor":"auth_token_1","description":"token based","plugin_version":""}}`),
		"PUT sys/auth/userpass":           refused(400, "path is already in use at userpass/"),
		"GET sys/audit":                   data(`{}`),
		"PUT sys/audit/file":              done,
		"DELETE sys/audit/file":           done,
		"GET sys/namespaces?list=true":    data(`{"keys":["team/"]}`),
		"GET sys/namespaces/team":         namespace,
		"PUT sys/namespaces/team":         namespace,
		"PATCH sys/namespaces/team":       namespace,
		"DELETE sys/namespaces/team":      data(`{"status":"in-progress"}`),
		"GET sys/seal-status":             {200, sealed},
		"PUT sys/unseal":                  {200, sealed},
		"GET sys/leader":                  refused(503, "Vault is sealed"),
		"PUT sys/seal":                    done,
		"GET sys/init":                    {200, `{"initialized":false}`},
		"PUT sys/init":                    {200, `{"keys":["aa","bb"],"keys_base64":["qg==","uw=="],"root_token":"s.root"}`},
		"GET sys/key-status":              data(`{"term":3,"install_time":"2026-01-02T03:04:05Z","encryptions":42}`),
		"PUT auth/userpass/login/ann":     auth,
		"PUT sys/leases/renew":            {200, `{"lease_id":"db/1","lease_duration":3600,"renewable":true,"data":null}`},
		"PUT sys/leases/revoke-prefix/db": done,
	}
}
