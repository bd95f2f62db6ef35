package approle

import (
	"context"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

const success api.Kind = 99

// desk is a mount to send requests to, as the gate does.
type desk struct {
	testing.TB
	engine api.Engine
	router *api.Router
	store  store.Store
	now    time.Time
	from   string
	asked  []time.Time // when upkeep was asked for
}

// Schedule implements api.Scheduler.
func (d *desk) Schedule(_ context.Context, _, _ string, at time.Time) error {
	d.asked = append(d.asked, at)
	return nil
}

func open(t testing.TB) *desk {
	t.Helper()
	e, err := Engine()
	if err != nil {
		t.Fatal(err)
	}
	r, err := api.NewRouter(e.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &desk{TB: t, engine: e, router: r, store: s, now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), from: "10.0.0.1"}
}

func (d *desk) call() *api.Call {
	return &api.Call{Context: context.Background(), Store: d.store, Now: d.now, Upkeep: d, Remote: netip.MustParseAddr(d.from),
		Mount: api.Mount{ID: "m", Path: "auth/approle/", MaxTTL: 768 * time.Hour, DefaultTTL: 768 * time.Hour}}
}

var ops = map[string]api.Op{"GET": api.Read, "POST": api.Write, "DELETE": api.Delete, "LIST": api.List}

// ask sends a request, and gives the answer as it is, and as JSON, and what kind of
// failure it came to.
func (d *desk) ask(op, path, body string) (any, map[string]any, api.Kind) {
	d.Helper()
	m, err := d.router.Match(ops[op], path)
	if err != nil {
		return nil, nil, api.KindOf(err)
	}
	b, err := api.ParseBody([]byte(body))
	if err != nil {
		d.Fatal(err)
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil {
		return nil, nil, api.KindOf(err)
	}
	resp, err := m.Endpoint.Invoke(d.call(), req)
	if err != nil {
		return nil, nil, api.KindOf(err)
	}
	text, err := json.Marshal(resp)
	if err != nil {
		d.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		d.Fatal(err)
	}
	return resp, out, success
}

// must sends a request that is to succeed.
func (d *desk) must(op, path, body string) map[string]any {
	d.Helper()
	_, out, kind := d.ask(op, path, body)
	if kind != success {
		d.Fatalf("%s %s %s: %v", op, path, body, kind)
	}
	return out
}

// role makes a role and answers its id.
func (d *desk) role(name, body string) (roleID string) {
	d.Helper()
	d.must("POST", "role/"+name, body)
	return d.must("GET", "role/"+name+"/role-id", "")["role_id"].(string)
}

// secret makes a secret id of a role.
func (d *desk) secret(name, body string) (secretID, accessor string) {
	d.Helper()
	out := d.must("POST", "role/"+name+"/secret-id", body)
	return out["secret_id"].(string), out["secret_id_accessor"].(string)
}

// login answers what the login came to.
func (d *desk) login(roleID, secretID string) (*api.Auth, api.Kind) {
	d.Helper()
	b, err := json.Marshal(map[string]string{"role_id": roleID, "secret_id": secretID})
	if err != nil {
		d.Fatal(err)
	}
	resp, _, kind := d.ask("POST", "login", string(b))
	a, _ := resp.(*api.Auth)
	return a, kind
}

// rows are the keys of the mount's store.
func (d *desk) rows(prefix string) int {
	d.Helper()
	es, err := d.store.List(d.Context(), store.Prefix(prefix))
	if err != nil {
		d.Fatal(err)
	}
	return len(es)
}
