package introspect_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

const root = servertest.Root

func read(t *testing.T, s *servertest.Server, path string, status int) *servertest.Answer {
	t.Helper()
	a := s.Do(t, http.MethodGet, path, root, "")
	if a.Status != status {
		t.Fatalf("GET %s: %d %s, want %d", path, a.Status, a.Text(), status)
	}
	return a
}

func write(t *testing.T, s *servertest.Server, path, body string, status int) *servertest.Answer {
	t.Helper()
	a := s.Do(t, http.MethodPost, path, root, body)
	if a.Status != status {
		t.Fatalf("POST %s: %d %s, want %d", path, a.Status, a.Text(), status)
	}
	return a
}

func TestHostInfo(t *testing.T) {
	a := read(t, servertest.Start(t), "sys/host-info", 200)
	for _, part := range []string{"host", "memory", "cpu", "cpu_times", "timestamp"} {
		if a.Field("data", part) == nil {
			t.Errorf("nothing of %s in %s", part, a.Text())
		}
	}
}

func TestInFlight(t *testing.T) {
	a := read(t, servertest.Start(t), "sys/in-flight-req", 200)
	all, _ := a.Field().(map[string]any)
	if len(all) != 1 {
		t.Fatalf("in flight: %s", a.Text())
	}
	for id, v := range all {
		one, _ := v.(map[string]any)
		if id != a.Header.Get("X-Request-Id") || one["request_path"] != "/v1/sys/in-flight-req" || one["request_method"] != "GET" ||
			!strings.HasPrefix(fmt.Sprint(one["client_remote_address"]), "127.0.0.1:") || one["start_time"] == nil {
			t.Errorf("%s: %v", id, one)
		}
	}
}

func TestCounters(t *testing.T) {
	s := servertest.Start(t)
	before := read(t, s, "sys/internal/counters/tokens", 200).Field("data", "counters", "service_tokens", "total")
	write(t, s, "sys/namespaces/team", `{}`, 200)
	write(t, s, "auth/token/create", `{}`, 200)
	write(t, s, "team/auth/token/create", `{"policies":["default"]}`, 200)
	write(t, s, "auth/token/create", `{"type":"batch","policies":["default"]}`, 200)
	after := read(t, s, "sys/internal/counters/tokens", 200).Field("data", "counters", "service_tokens", "total")
	if before != 1.0 || after != 3.0 {
		t.Errorf("counted %v, then %v", before, after)
	}
	write(t, s, "identity/entity", `{}`, 200)
	if n := read(t, s, "sys/internal/counters/entities", 200).Field("data", "counters", "entities", "total"); n != 1.0 {
		t.Errorf("%v entities", n)
	}
	if a := read(t, s, "sys/internal/counters/requests", 404); !strings.Contains(a.Text(), "removed on this path") {
		t.Error(a.Text())
	}
}

func TestInspectRouter(t *testing.T) {
	s := servertest.Start(t)
	write(t, s, "sys/namespaces/team", `{}`, 200)
	for tag, whole := range map[string]bool{"root": true, "storage": true, "uuid": false, "accessor": false} {
		list, _ := read(t, s, "sys/internal/inspect/router/"+tag, 200).Field("data", tag).([]any)
		var seen []string
		for _, v := range list {
			e := v.(map[string]any)
			seen = append(seen, fmt.Sprint(e["mount_namespace"], e["mount_path"], " ", e["mount_type"]))
			if (e["storage_prefix"] != nil) != whole || (e["tainted"] != nil) != whole || e["uuid"] == "" || e["accessor"] == "" {
				t.Errorf("%s: %v", tag, e)
			}
		}
		for _, want := range []string{"secret/ kv", "token/ token", "team/sys/ ns_system", "team/token/ ns_token"} {
			if !slices.Contains(seen, want) {
				t.Errorf("%s lacks %s: %v", tag, want, seen)
			}
		}
	}
	read(t, s, "sys/internal/inspect/router/other", 404)
}

func TestInspectRequestHidesTheToken(t *testing.T) {
	s := servertest.Start(t)
	a := read(t, s, "sys/internal/inspect/request", 200)
	if a.String("data", "req", "id") != a.Header.Get("X-Request-Id") || a.String("data", "req", "mount_point") != "sys/" ||
		a.String("data", "req", "path") != "internal/inspect/request" || a.String("data", "req", "client_token_accessor") == "" || a.String("data", "cluster_id") == "" {
		t.Error(a.Text())
	}
	if strings.Contains(a.Text(), root) {
		t.Error("the answer holds the token")
	}
}

func TestSanitizedConfigurationHasNoSecret(t *testing.T) {
	s := servertest.Start(t, func(c *server.Config) { c.ClusterName, c.MaxTTL, c.RawStorage = "blue", 7200e9, true })
	a := read(t, s, "sys/config/state/sanitized", 200)
	if a.String("data", "cluster_name") != "blue" || a.Field("data", "max_lease_ttl") != 7200.0 || a.Field("data", "raw_storage_endpoint") != true ||
		a.String("data", "storage", "type") != "inmem" || a.String("data", "log_level") != "debug" {
		t.Error(a.Text())
	}
	listeners, _ := a.Field("data", "listeners").([]any)
	if len(listeners) != 1 || !strings.Contains(a.Text(), `"tls_disable":true`) {
		t.Errorf("listeners: %v", listeners)
	}
	if strings.Contains(a.Text(), root) {
		t.Error("the configuration shows the root token")
	}
}

func TestReload(t *testing.T) {
	s := servertest.Start(t)
	write(t, s, "sys/config/reload/tls", "", 204)
	write(t, s, "sys/config/reload/audit", "", 204)
	if a := write(t, s, "sys/config/reload/license", "", 400); !strings.Contains(a.Text(), "one of audit, tls") {
		t.Error(a.Text())
	}
}

func TestCatalog(t *testing.T) {
	s := servertest.Start(t)
	a := read(t, s, "sys/plugins/catalog", 200)
	if got := a.Field("data", "secret"); !reflect.DeepEqual(got, []any{"kv"}) {
		t.Errorf("secret engines: %v", got)
	}
	if got := a.Field("data", "database"); !reflect.DeepEqual(got, []any{}) {
		t.Errorf("databases: %v", got)
	}
	detailed, _ := a.Field("data", "detailed").([]any)
	if len(detailed) == 0 || detailed[len(detailed)-1].(map[string]any)["builtin"] != true {
		t.Errorf("detailed: %v", detailed)
	}
	if a := s.Do(t, "LIST", "sys/plugins/catalog/secret", root, ""); a.Status != 200 || !strings.Contains(a.Text(), `"keys":["kv"]`) {
		t.Errorf("listed: %d %s", a.Status, a.Text())
	}
	if a := s.Do(t, "LIST", "sys/plugins/catalog/bogus", root, ""); a.Status != 400 {
		t.Errorf("listed a type that there is not: %d", a.Status)
	}
	one := read(t, s, "sys/plugins/catalog/secret/kv", 200)
	if one.String("data", "name") != "kv" || one.Field("data", "builtin") != true || one.String("data", "version") == "" {
		t.Error(one.Text())
	}
	read(t, s, "sys/plugins/catalog/secret/none", 404)
	read(t, s, "sys/plugins/catalog/auth/kv", 404)
	if a := read(t, s, "sys/plugins/catalog/kv", 200); a.Field("data") != nil || !strings.Contains(a.Text(), "Deprecated API endpoint") {
		t.Error(a.Text())
	}
}

// Every engine that a build has is in the catalogue, but for those that every
// namespace has.
func TestCatalogIsWhole(t *testing.T) {
	engines, err := server.Engines()
	if err != nil {
		t.Fatal(err)
	}
	a := read(t, servertest.Start(t), "sys/plugins/catalog", 200)
	for _, e := range engines {
		kind := map[bool]string{true: "auth", false: "secret"}[e.Auth]
		names, _ := a.Field("data", kind).([]any)
		if everywhere := slices.Contains([]string{"system", "token", "cubbyhole", "identity"}, e.Type); slices.Contains(names, any(e.Type)) == everywhere {
			t.Errorf("%s is in the catalogue: %v", e.Type, everywhere)
		}
	}
}

func TestWhoMayAsk(t *testing.T) {
	s := servertest.Start(t)
	write(t, s, "sys/policies/acl/reader", `{"policy":"path \"sys/*\" { capabilities = [\"read\", \"update\"] }"}`, 204)
	weak := write(t, s, "auth/token/create", `{"policies":["reader"]}`, 200).String("auth", "client_token")
	for path, want := range map[string]int{"sys/internal/inspect/request": 403, "sys/internal/inspect/router/root": 403, "sys/plugins/catalog/secret/kv": 403,
		"sys/plugins/catalog": 200, "sys/host-info": 200, "sys/config/state/sanitized": 200, "sys/in-flight-req": 200, "sys/pprof/heap": 403,
		"sys/config/cors": 403, "sys/config/ui/headers/x": 403, "sys/config/auditing/request-headers": 403} {
		if a := s.Do(t, http.MethodGet, path, weak, ""); a.Status != want {
			t.Errorf("without sudo %s: %d, want %d", path, a.Status, want)
		}
		if a := s.Do(t, http.MethodGet, path, "", ""); a.Status != 403 {
			t.Errorf("without a token %s: %d", path, a.Status)
		}
	}
}
