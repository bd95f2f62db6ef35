package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// doorEngine is an auth method that lets everybody in.
func doorEngine(t *testing.T) api.Engine {
	t.Helper()
	eps, err := api.Bind(&struct{}{}, []api.Route[*struct{}]{
		api.Handle(api.Write, "login", func(*struct{}, *api.Call, *api.None) (*api.Auth, error) {
			return &api.Auth{DisplayName: "anybody", TokenPolicies: []string{"reader"}}, nil
		}, api.Public),
	})
	if err != nil {
		t.Fatal(err)
	}
	return api.Engine{Type: "door", Auth: true, Endpoints: eps}
}

// furnished is a server with two mounts that hold something, an auth method, and a
// token that may only read one of them.
func furnished(t *testing.T) (w *world, c Config, root, reader string) {
	t.Helper()
	c = Config{DataDir: t.TempDir(), LocalSlot: true, RawStorage: true, AuditDirs: []string{t.TempDir()}, Engines: []api.Engine{doorEngine(t)}}
	w = start(t, c)
	root = w.printed()
	for _, path := range []string{"hurt", "well"} {
		w.wants(204, "", root, "POST", "sys/mounts/"+path, `{"type":"kv"}`)
		w.wants(204, "", root, "POST", path+"/x", `{"v":"`+path+` kept"}`)
	}
	w.wants(204, "", root, "POST", "sys/auth/door", `{"type":"door"}`)
	w.wants(204, "", root, "PUT", "sys/policies/acl/reader", `{"policy":"path \"well/*\" { capabilities = [\"read\"] }"}`)
	out := w.wants(200, "", root, "POST", "auth/token/create", `{"policies":["reader"]}`)
	reader, _ = out["auth"].(map[string]any)["client_token"].(string)
	w.wants(200, "hurt kept", root, "GET", "hurt/x", "") // the control: unharmed, all of it is answered
	w.wants(200, `"mount_type":"door"`, "", "POST", "auth/door/login", "")
	return w, c, root, reader
}

// restartedOn damages rows and starts the server anew on what is there then.
func (w *world) restartedOn(c Config, rows ...string) *world {
	w.t.Helper()
	for _, key := range rows {
		w.flip(key)
	}
	w.end()
	w = start(w.t, c)
	if w.current() == nil {
		w.t.Fatal("the server stays sealed")
	}
	return w
}

func (w *world) row(key string) string {
	w.t.Helper()
	e, err := w.barrier.Get(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(e.Value)
}

const hurtRow = "root/mount/at/hurt/"

// A mount whose row is damaged is kept apart: it answers why, nothing takes its
// place, its data stays, and a row that is put back mends it.
func TestDamagedMountIsKeptApart(t *testing.T) {
	w, c, root, reader := furnished(t)
	out := w.wants(200, "", root, "GET", "sys/raw?path="+hurtRow, "")
	whole, _ := out["data"].(map[string]any)["value"].(string)
	w = w.restartedOn(c, "d/"+hurtRow)
	defer func() { w.end() }()
	data := w.keys()
	w.wants(200, "well kept", root, "GET", "well/x", "")
	w.wants(200, "well kept", reader, "GET", "well/x", "")
	w.wants(200, `"mount_type":"door"`, "", "POST", "auth/door/login", "")
	for _, path := range []string{"hurt/x", "hurt", "hurt/", "hurt/none/at/all", "sys/mounts/hurt", "sys/mounts/hurt/tune", "sys/internal/ui/mounts/hurt/x"} {
		w.wants(500, hurtRow, root, "GET", path, "")
	}
	w.wants(500, hurtRow, root, "LIST", "hurt", "")
	w.wants(500, hurtRow, root, "POST", "hurt/y", `{"v":"1"}`)
	w.wants(500, hurtRow, root, "DELETE", "hurt/x", "")
	w.wants(403, "", reader, "GET", "hurt/x", "") // who may not use it learns nothing of it
	w.wants(403, "", "", "GET", "hurt/x", "")
	for _, path := range []string{"sys/mounts/hurt", "sys/mounts/hurt/below", "sys/mounts/HURT", "sys/mounts/hurt/tune"} {
		w.wants(500, hurtRow, root, "POST", path, `{"type":"kv"}`)
	}
	w.wants(500, hurtRow, root, "POST", "sys/namespaces/hurt", "")
	w.wants(500, hurtRow, root, "DELETE", "sys/mounts/hurt", "")
	w.wants(500, hurtRow, root, "POST", "sys/remount", `{"from":"hurt","to":"elsewhere"}`)
	w.wants(500, hurtRow, root, "POST", "sys/remount", `{"from":"well","to":"hurt/below"}`)
	mounts := w.wants(200, `"hurt/"`, root, "GET", "sys/mounts", "")
	if shown := mounts["hurt/"].(map[string]any); shown["type"] != "damaged" || !strings.Contains(shown["description"].(string), hurtRow) {
		t.Errorf("it is listed as %v", shown)
	}
	w.wants(200, `"hurt/"`, root, "GET", "sys/internal/ui/mounts", "")
	w.wants(200, "hurt/", root, "GET", "sys/internal/inspect/router/storage", "")
	if err := w.current().Mounts.Upkeep(t.Context(), "root", "0123456789abcdef"); err == nil {
		t.Error("the upkeep of a mount that may be the damaged one counts as done")
	}
	w.wants(204, "", root, "POST", "sys/mounts/third", `{"type":"kv"}`)
	w.wants(204, "", root, "DELETE", "sys/mounts/third", "")
	if now := w.keys(); slices.ContainsFunc(data, func(k string) bool { return strings.HasPrefix(k, "d/root/m/") && !slices.Contains(now, k) }) {
		t.Errorf("data has gone: %q, then %q", data, now)
	}
	if got := w.current().damaged.Rows(); !slices.Equal(got, []string{hurtRow}) {
		t.Errorf("the damaged rows are %q", got)
	}
	w.wants(200, `"Name":"strongroom_damaged_rows","Value":1`, root, "GET", "sys/metrics", "")
	w.wants(204, "", root, "POST", "sys/raw", `{"path":"`+hurtRow+`","value":`+quoted(whole)+`}`)
	w.wants(200, "hurt kept", root, "GET", "hurt/x", "")
	if got := w.current().damaged.Rows(); len(got) != 0 {
		t.Errorf("mended, the damaged rows are %q", got)
	}
}

func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"` }

// What every namespace has is kept apart like any other mount, but for the system's
// endpoints, which are how everything is put right.
func TestDamagedBuiltinsAreKeptApart(t *testing.T) {
	for row, refused := range map[string]string{"sys/": "", "cubbyhole/": "cubbyhole/x", "auth/token/": "auth/token/lookup-self", "auth/door/": "auth/door/login"} {
		t.Run(row, func(t *testing.T) {
			w, c, root, reader := furnished(t)
			whole := w.row("root/mount/at/" + row)
			w = w.restartedOn(c, "d/root/mount/at/"+row)
			defer func() { w.end() }()
			w.wants(200, "well kept", reader, "GET", "well/x", "")
			w.wants(200, "hurt kept", root, "GET", "hurt/x", "")
			w.wants(200, row+" is damaged", root, "GET", "sys/"+map[bool]string{true: "auth", false: "mounts"}[strings.HasPrefix(row, "auth/")], "")
			if refused != "" {
				w.wants(500, "root/mount/at/"+row, root, "GET", refused, "")
			}
			if row == "auth/door/" { // a stranger learns that it is not the password
				w.wants(500, "root/mount/at/"+row, "", "POST", refused, "")
				w.wants(500, "root/mount/at/"+row, "nobody's", "POST", refused, "")
			}
			w.wants(204, "", root, "POST", "sys/raw", `{"path":"root/mount/at/`+row+`","value":`+quoted(whole)+`}`)
			w.wants(200, `"mount_type":"door"`, "", "POST", "auth/door/login", "")
			w.wants(200, "", root, "GET", "auth/token/lookup-self", "")
		})
	}
}

// With the row of cubbyholes damaged, a token that is revoked still takes all below it
// with it, and what they kept is cleared away later.
func TestDamagedCubbyholeKeepsNobodyAlive(t *testing.T) {
	w, c, root, _ := furnished(t)
	line := []string{root}
	for range 3 {
		out := w.wants(200, "", line[len(line)-1], "POST", "auth/token/create", `{"policies":["root"]}`)
		born, _ := out["auth"].(map[string]any)["client_token"].(string)
		w.wants(204, "", born, "POST", "cubbyhole/x", `{"v":"1"}`)
		line = append(line, born)
	}
	w = w.restartedOn(c, "d/root/mount/at/cubbyhole/")
	defer func() { w.end() }()
	w.wants(200, "hurt kept", line[3], "GET", "hurt/x", "")
	w.wants(204, "", root, "POST", "auth/token/revoke", `{"token":"`+line[1]+`"}`)
	for _, dead := range line[1:] {
		w.wants(403, "", dead, "GET", "hurt/x", "")
	}
	due := slices.DeleteFunc(w.keys(), func(k string) bool { return !strings.Contains(k, jobCubbyhole) })
	if len(due) != 3 {
		t.Errorf("to be cleared later: %q", due)
	}
}

// A policy that denies who came in by one method does not let them through when the
// method's row is damaged and nobody knows any more what it was.
func TestDamagedMethodLetsNobodyThrough(t *testing.T) {
	w, c, root, _ := furnished(t)
	w.wants(204, "", root, "PUT", "sys/policies/acl/careful",
		`{"policy":"path \"well/*\" { capabilities = [\"read\"] condition = \"auth.method != 'door'\" }"}`)
	issue := func(path string) string {
		a, err := w.current().Tokens.Issue(t.Context(), token.Spec{Namespace: "root", Path: path, Auth: api.Auth{TokenPolicies: []string{"careful"}, TTL: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		return string(a.ClientToken.Disclose())
	}
	stranger, ours := issue("auth/door/login"), issue("auth/token/create")
	out := w.wants(200, "", "", "POST", "auth/door/login", "")
	guest, _ := out["auth"].(map[string]any)["client_token"].(string)
	w.wants(200, "", guest, "GET", "well/x", "")
	whole := w.row("root/mount/at/auth/door/")
	w.wants(403, "", stranger, "GET", "well/x", "")
	w.wants(200, "", ours, "GET", "well/x", "")
	w = w.restartedOn(c, "d/root/mount/at/auth/door/")
	defer func() { w.end() }()
	w.wants(500, "auth/door/", stranger, "GET", "well/x", "")
	w.wants(500, "row of a mount is damaged", guest, "GET", "well/x", "") // not 403, as if its method were gone
	w.wants(500, "row of a mount is damaged", guest, "POST", "auth/token/renew-self", "")
	w.wants(200, "", ours, "GET", "well/x", "")
	w.wants(204, "", root, "POST", "sys/raw", `{"path":"root/mount/at/auth/door/","value":`+quoted(whole)+`}`)
	w.wants(200, "", guest, "GET", "well/x", "")
}

// The guard of mounts says nothing, so that nothing is lost with it.
func TestDamagedGuardIsMadeAnew(t *testing.T) {
	const guard = "d/root/mount/guard"
	w, c, root, _ := furnished(t)
	w.flip(guard)
	w.wants(204, "", root, "POST", "sys/mounts/third", `{"type":"kv"}`) // as a running server
	w = w.restartedOn(c, guard)
	defer func() { w.end() }()
	w.wants(200, "hurt kept", root, "GET", "hurt/x", "")
	w.wants(204, "", root, "POST", "sys/mounts/fourth", `{"type":"kv"}`)
}

// Settings, orders, headers and lists do without the rows that are damaged.
func TestDamagedRowsOfLists(t *testing.T) {
	w, c, root, _ := furnished(t)
	w.wants(204, "", root, "POST", "sys/config/cors", `{"allowed_origins":["https://a.example"]}`)
	w.wants(204, "", root, "POST", "sys/config/ui/headers/X-Mine", `{"values":["1"]}`)
	w.wants(204, "", root, "POST", "sys/config/ui/headers/X-Ours", `{"values":["2"]}`)
	w.wants(204, "", root, "POST", "sys/config/auditing/request-headers/x-seen", `{}`)
	w.wants(200, "", root, "POST", "sys/namespaces/hurt-ns", "")
	w.wants(200, "", root, "POST", "sys/namespaces/well-ns", "")
	w.wants(204, "", root, "PUT", "sys/policies/acl/short", `{"policy":"path \"a\" { capabilities = [\"read\"] }","ttl":"1h"}`)
	if err := w.current().orders.GiveSeal(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := []string{"settings/cors", "settings/header/x-mine", "audit-header/x-seen", "ns/root/hurt-ns", "policy/expires/short", "fleet/seal"}
	for i := range rows {
		rows[i] = "d/root/" + rows[i]
	}
	w = w.restartedOn(c, rows...)
	defer func() { w.end() }()
	w.wants(200, "hurt kept", root, "GET", "hurt/x", "")
	w.wants(200, "x-seen", root, "GET", "sys/config/auditing/request-headers", "")
	w.wants(200, `"hmac":true`, root, "GET", "sys/config/auditing/request-headers", "")
	out := w.wants(200, "X-Ours", root, "LIST", "sys/config/ui/headers", "")
	if text := out["data"].(map[string]any)["keys"].([]any); len(text) != 1 {
		t.Errorf("a damaged header is sent: %v", text)
	}
	if now, err := w.current().Settings.Current(t.Context()); err != nil || now.CORS == nil || now.CORS.Allows("https://a.example") || now.CORS.Allows("https://b.example") {
		t.Errorf("with a damaged CORS: %+v, %v", now, err)
	}
	w.wants(200, "well-ns/", root, "LIST", "sys/namespaces", "")
	w.wants(200, "root/ns/root/hurt-ns is damaged", root, "LIST", "sys/namespaces", "")
	w.wants(200, `"tainted":true`, root, "LIST", "sys/namespaces", "")
	w.wants(500, "root/ns/root/hurt-ns", root, "GET", "hurt-ns/sys/mounts", "")
	w.wants(500, "root/ns/root/hurt-ns", root, "POST", "sys/namespaces/hurt-ns", "")
	w.wants(500, "root/ns/root/hurt-ns", root, "POST", "sys/mounts/hurt-ns", `{"type":"kv"}`)
	for _, walk := range []string{"sys/internal/inspect/router/root", "sys/internal/counters/tokens", "sys/internal/ui/namespaces"} {
		w.wants(200, "", root, "GET", walk, "") // each goes through all namespaces that are live
	}
	w.wants(200, "", root, "LIST", "sys/raw", "")
	w.wants(200, "short", root, "LIST", "sys/policies/acl", "")
	w.wants(200, "", root, "GET", "well-ns/sys/mounts", "")
}

// A running node that finds the order to seal damaged cannot tell whether it is a new
// one, and serves nothing; one that starts has it behind it.
func TestDamagedOrderIsNoConsent(t *testing.T) {
	w, c, root, _ := furnished(t)
	if err := w.current().orders.GiveSeal(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wants(200, "hurt kept", root, "GET", "hurt/x", "") // the control
	w.flip("d/root/fleet/seal")
	w.wants(500, "root/fleet/seal", root, "GET", "hurt/x", "")
	w = w.restartedOn(c)
	defer func() { w.end() }()
	w.wants(200, "hurt kept", root, "GET", "hurt/x", "")
	w.wants(204, "", root, "DELETE", "sys/raw/root/fleet/seal", "")
	w.wants(200, "hurt kept", root, "GET", "hurt/x", "")
}

// Whether an audit device whose row is damaged must have an entry is not known: only
// who holds the root policy gets through, to find it and give it up.
func TestDamagedAuditDeviceRefuses(t *testing.T) {
	w, c, root, reader := furnished(t)
	for _, name := range []string{"one", "two"} {
		w.wants(204, "", root, "POST", "sys/audit/"+name, `{"type":"file","options":{"file_path":"`+w.config.AuditDirs[0]+`/`+name+`.log"}}`)
	}
	w.wants(204, "", root, "PUT", "sys/policies/acl/warden", `{"policy":"path \"sys/audit*\" { capabilities = [\"read\", \"delete\", \"sudo\"] }"}`)
	out := w.wants(200, "", root, "POST", "auth/token/create", `{"policies":["warden"]}`)
	warden, _ := out["auth"].(map[string]any)["client_token"].(string)
	w.wants(200, "", warden, "GET", "sys/audit", "")
	w = w.restartedOn(c, "d/root/audit/one/")
	defer func() { w.end() }()
	w.wants(503, "root/audit/one/", root, "GET", "hurt/x", "")
	w.wants(503, "root/audit/one/", reader, "GET", "well/x", "")
	w.wants(503, "root/audit/one/", warden, "GET", "sys/audit", "")
	w.wants(503, "root/audit/one/", warden, "DELETE", "sys/audit/one", "")
	w.wants(503, "root/audit/one/", root, "POST", "sys/audit-hash/one", `{"input":"x"}`)
	w.wants(200, `"type":"damaged"`, root, "GET", "sys/audit", "")
	w.wants(204, "", root, "DELETE", "sys/audit/one", "")
	w.wants(200, "hurt kept", root, "GET", "hurt/x", "")
	w.wants(200, "two/", root, "GET", "sys/audit", "")
	if got := w.current().damaged.Rows(); len(got) != 0 {
		t.Errorf("given up, the damaged rows are %q", got)
	}
}

// What a configured device is stands in the configuration: disabling one whose row is
// damaged, or is whole and of no device, makes the row anew.
func TestDamagedConfiguredAuditDeviceIsMended(t *testing.T) {
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprint("whole ", whole), func(t *testing.T) { configuredDeviceIsMended(t, whole) })
	}
}

func configuredDeviceIsMended(t *testing.T, whole bool) {
	c := Config{DataDir: t.TempDir(), LocalSlot: true, Audit: logFile(t.TempDir() + "/audit.log")}
	w := start(t, c)
	root := w.printed()
	path := strings.TrimSuffix(c.Audit[0].Path, "/")
	if whole {
		if _, err := w.barrier.Commit(t.Context(), nil, []store.Write{{Key: "root/audit/" + path + "/", Value: []byte("{}")}}); err != nil {
			t.Fatal(err)
		}
		w = w.restartedOn(c)
	} else {
		w = w.restartedOn(c, "d/root/audit/"+path+"/")
	}
	defer func() { w.end() }()
	w.wants(503, "root/audit/"+path, root, "GET", "sys/mounts", "")
	w.wants(200, "made anew", root, "DELETE", "sys/audit/"+path, "")
	w.wants(200, "", root, "GET", "sys/mounts", "")
	w.wants(400, "declared in the configuration", root, "DELETE", "sys/audit/"+path, "")
}

// Where the row that says whether leases are held cannot be read none is taken back, and so it is told.
func TestDamagedHoldIsToldAsAHold(t *testing.T) {
	w, c, _, _ := furnished(t)
	if err := lease.Isolate(t.Context(), w.barrier, lease.Quarantine{ID: "one", Resumed: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w = w.restartedOn(c)
	defer func() { w.end() }()
	if _, out := w.ask("", "GET", "sys/seal-status", ""); strings.Contains(fmt.Sprint(out), "leases_held:true") {
		t.Errorf("a hold that has ended is told as one: %v", out)
	}
	w = w.restartedOn(c, "d/root/lease/quarantine")
	w.wants(200, `"leases_held":true`, "", "GET", "sys/seal-status", "")
}
