package approle

import (
	"context"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/store"
)

// desk is a mounted method, whose upkeep is written down.
type desk struct {
	*authtest.Mount
	asked []time.Time // when upkeep was asked for
}

// Schedule implements api.Scheduler.
func (d *desk) Schedule(_ context.Context, _, _ string, at time.Time) error {
	d.asked = append(d.asked, at)
	return nil
}

func open(t testing.TB) *desk {
	t.Helper()
	d := &desk{Mount: authtest.Open(t, Engine)}
	d.With.Upkeep = d
	d.from("10.0.0.1")
	return d
}

// from sets the address of the client.
func (d *desk) from(address string) { d.With.Remote = netip.MustParseAddr(address) }

// ask sends a request, and gives the answer as JSON, and what kind of failure it came to.
func (d *desk) ask(op api.Op, path, body string) (map[string]any, api.Kind) {
	d.Helper()
	text, kind := d.Text(op, path, body)
	if kind != authtest.Success {
		return nil, kind
	}
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		d.Fatal(err)
	}
	return out, kind
}

// must sends a request that is to succeed.
func (d *desk) must(op api.Op, path, body string) map[string]any {
	d.Helper()
	out, kind := d.ask(op, path, body)
	if kind != authtest.Success {
		d.Fatalf("%v %s %s: %v", op, path, body, kind)
	}
	return out
}

// role makes a role and answers its id.
func (d *desk) role(name, body string) (roleID string) {
	d.Helper()
	d.must(api.Write, "role/"+name, body)
	return d.must(api.Read, "role/"+name+"/role-id", "")["role_id"].(string)
}

// secret makes a secret id of a role.
func (d *desk) secret(name, body string) (secretID, accessor string) {
	d.Helper()
	out := d.must(api.Write, "role/"+name+"/secret-id", body)
	return out["secret_id"].(string), out["secret_id_accessor"].(string)
}

// login answers what the login came to.
func (d *desk) login(roleID, secretID string) (*api.Auth, api.Kind) {
	d.Helper()
	b, err := json.Marshal(map[string]string{"role_id": roleID, "secret_id": secretID})
	if err != nil {
		d.Fatal(err)
	}
	a, err := d.Login("login", string(b))
	if err != nil {
		return nil, api.KindOf(err)
	}
	return a, authtest.Success
}

// rows are the keys of the mount's store.
func (d *desk) rows(prefix string) int {
	d.Helper()
	es, err := d.With.Store.List(d.Context(), store.Prefix(prefix))
	if err != nil {
		d.Fatal(err)
	}
	return len(es)
}
