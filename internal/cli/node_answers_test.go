package cli

import (
	"strings"
	"testing"
)

// lonelyNode is one that takes a step-down as if it led.
func lonelyNode() map[string]answer {
	return map[string]answer{"PUT sys/step-down": {204, ""}, "GET sys/leader": {200, `{"ha_enabled":false,"is_self":false}`}}
}

// nodeAnswers are about the node: who it is, what is built in, what it has counted.
func nodeAnswers() map[string]answer {
	counts := `{"distinct_entities":2,"non_entity_tokens":3,"clients":5}`
	catalog := `{"auth":["token"],"database":[],"secret":["kv","cubbyhole"],"detailed":[
		{"builtin":true,"deprecation_status":"supported","name":"kv","type":"secret","version":"v1.2.3+builtin"},
		{"builtin":true,"deprecation_status":"supported","name":"cubbyhole","type":"secret","version":"v1.2.3+builtin"},
		{"builtin":true,"deprecation_status":"supported","name":"token","type":"auth","version":"v1.2.3+builtin"}]}`
	history := `{"keys":["1.0.0","1.1.0"],"key_info":{
		"1.0.0":{"timestamp_installed":"2026-01-02T03:04:05Z","previous_version":null},
		"1.1.0":{"timestamp_installed":"2026-02-02T03:04:05Z","previous_version":"1.0.0","commit_date":"2026-02-01"}}}`
	const sealed = `{"type":"shamir","initialized":true,"sealed":true,"t":2,"n":3,"progress":1,"nonce":"n"}`
	return map[string]answer{
		"GET sys/ha-status": data(`{"nodes":[{"hostname":"one","api_address":"http://one:8200","cluster_address":"",
			"active_node":true,"last_echo":null,"version":"1.2.3"}]}`),
		"GET sys/nodes": data(`{"self":"n1","format":1,"revision":9,"nodes":[
			{"id":"n1","hostname":"one","api_address":"http://one:8200","state":"active","version":"1.2.3","lag_ms":1,"last_seen":"2026-01-02T03:04:05Z"},
			{"id":"n2","hostname":"two","api_address":"http://two:8200","state":"lost","version":"1.2.3","lag_ms":250,"last_seen":"2026-01-02T03:01:05Z"},
			{"id":"n3","hostname":"three","api_address":"http://three:8200","state":"active","version":"1.2.3","lag_ms":1,"last_seen":"2026-01-02T02:59:05Z","clock_ms":-300000},
			{"id":"n4","hostname":"four","api_address":"http://four:8200","state":"sealed","version":"1.2.3","lag_ms":1,"last_seen":"2026-01-02T03:04:45Z","clock_ms":40000}]}`),
		"GET sys/storage/members": data(`{"members":[
			{"id":"8e9e05c52164694d","name":"a","peer_urls":["https://a:2380"],"started":true,"answers":true,"leader":true},
			{"id":"9ffcad72a7575ca2","name":"","peer_urls":["https://b:2380"],"started":false,"answers":false,"leader":false}]}`),
		"PUT sys/storage/members":                            {204, ""},
		"DELETE sys/storage/members/8e9e05c52164694d":        {204, ""},
		"GET sys/key-slots?list=true":                        data(`{"keys":["s1","s2"],"key_info":{"s1":{"kind":"shamir","name":"board","secret_shares":5,"secret_threshold":3},"s2":{"kind":"file","name":""}}}`),
		"PUT sys/key-slots":                                  data(`{"id":"s3","keys_base64":["a","b"]}`),
		"GET sys/locked-users":                               data(`{"total":2,"by_namespace":[{"namespace_id":"root","namespace_path":"","counts":2,"mount_accessors":[{"mount_accessor":"auth_userpass_1a","counts":2,"alias_identifiers":["ann","bob"]}]}]}`),
		"PUT auth/corp/login/ann":                            refused(403, "permission denied"),
		"PUT sys/seal":                                       data(`{"unconfirmed":["n2","n3"],"unconfirmed_nodes":[{"id":"n2","hostname":"two","api_address":"http://two:8200","last_seen":"2026-01-02T03:01:05Z"}]}`),
		"PUT sys/step-down":                                  refused(404, "unsupported path"),
		"GET sys/plugins/catalog":                            data(catalog),
		"GET sys/plugins/catalog/secret/kv":                  data(`{"args":null,"builtin":true,"command":"","name":"kv","version":"v1.2.3+builtin"}`),
		"GET sys/version-history?list=true":                  data(history),
		"GET sys/monitor?log_format=standard&log_level=info": {200, "first line\nsecond line\n"},
		"GET sys/monitor?log_format=json&log_level=debug":    refused(403, "permission denied"),
		"GET sys/internal/counters/activity": data(`{"by_namespace":[{"namespace_id":"root","namespace_path":"","counts":` + counts + `}],
			"total":` + counts + `}`),
		"GET sys/internal/counters/activity?start_time=2026-01-01T00%3A00%3A00Z": {204, ""},
		"PUT sys/namespaces/api-lock/lock":                                       data(`{"unlock_key":"abc"}`),
		"PUT sys/namespaces/api-lock/unlock":                                     {204, ""},
		"PUT sys/namespaces/tenant":                                              data(`{"id":"abc","path":"tenant/","custom_metadata":{},"key_shares":["k1","k2","k3"]}`),
		"PUT sys/namespaces/team/seal":                                           {204, ""},
		"GET sys/namespaces/team/seal-status":                                    data(sealed),
		"PUT sys/namespaces/team/unseal":                                         data(sealed),
		"DELETE sys/namespaces/team/delete-sealed?force=true":                    data(`{"status":"in-progress"}`),
		"GET sys/namespaces?list=true":                                           data(`{"keys":["team/"],"key_info":{"team/":{"id":"abc","path":"team/","custom_metadata":{}}}}`),
	}
}

func TestStepDown(t *testing.T) {
	answers := lonelyNode()
	r := run(t, newFake(t, answers), t.TempDir(), "operator step-down")
	if r.code != 0 || !strings.Contains(r.stdout, "no node leads") || !strings.Contains(r.stdout, "SIGTERM") {
		t.Errorf("alone: %d %s %s", r.code, r.stdout, r.stderr)
	}
	answers["GET sys/leader"] = answer{200, `{"ha_enabled":true,"is_self":false}`}
	r = run(t, newFake(t, answers), t.TempDir(), "operator step-down")
	if r.code != 0 || r.stdout != "Success! Stepped down: SERVER\n" {
		t.Errorf("one of several: %d %s %s", r.code, r.stdout, r.stderr)
	}
	answers["GET sys/leader"] = answer{200, `{"ha_enabled":true,"is_self":true}`}
	r = run(t, newFake(t, answers), t.TempDir(), "operator step-down")
	if r.code != 0 || !strings.Contains(r.stdout, "no node leads") {
		t.Errorf("one of a fleet: %d %s %s", r.code, r.stdout, r.stderr)
	}
}
