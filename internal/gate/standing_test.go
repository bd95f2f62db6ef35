package gate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
)

// somebody logs in as an entity whose policy lets it read below probe/.
func (f *fixture) somebody() (a *api.Auth, entity string) {
	f.t.Helper()
	f.lobby(&api.Auth{TTL: time.Hour, Alias: &api.Alias{Name: "x"}})
	if err := f.house.Policies.Write(f.t.Context(), namespace.RootID, "all", `path "probe/*" { capabilities = ["read"] }`, policies.Terms{}); err != nil {
		f.t.Fatal(err)
	}
	a = f.do(api.Write, "auth/lobby/login", "").Auth
	entity = namespace.RootID + "/identity/entity/" + a.EntityID
	f.put(entity, fmt.Sprintf(`{"id":%q,"name":"x","policies":["all"]}`, a.EntityID))
	return a, entity
}

// TestStreamEndsWithItsEntity has a stream that only the caller's entity allows end when that
// is disabled: its policies are not in the token.
func TestStreamEndsWithItsEntity(t *testing.T) {
	f := newFixture(t)
	a, entity := f.somebody()
	ended := f.begun(a.ClientToken.Reveal())
	select {
	case <-ended:
		t.Fatal("it ended though nothing has happened")
	case <-time.After(3 * time.Second / 2):
	}
	f.put(entity, fmt.Sprintf(`{"id":%q,"name":"x","policies":["all"],"disabled":true}`, a.EntityID))
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the stream goes on though its entity is disabled")
	}
}

// TestCapabilitiesAreOfTheEntityToo asks what another's token may: its entity's policies count,
// and once that is disabled the token is as good as none.
func TestCapabilitiesAreOfTheEntityToo(t *testing.T) {
	f := newFixture(t)
	a, entity := f.somebody()
	for path, who := range map[string]string{
		"sys/capabilities":          fmt.Sprintf(`"token":%q`, a.ClientToken.Reveal()),
		"sys/capabilities-accessor": fmt.Sprintf(`"accessor":%q`, a.Accessor),
	} {
		ask := f.body(request(api.Write, path, f.root), `{"paths":["probe/thing/a"],`+who+`}`)
		f.put(entity, fmt.Sprintf(`{"id":%q,"name":"x","policies":["all"]}`, a.EntityID))
		var out map[string][]string
		r := f.gate.Serve(t.Context(), ask)
		if err := json.Unmarshal(r.Data, &out); err != nil || !slices.Equal(out["capabilities"], []string{"read"}) {
			t.Errorf("%s: %s %v %v", path, r.Data, r.Err, err)
		}
		f.put(entity, fmt.Sprintf(`{"id":%q,"name":"x","policies":["all"],"disabled":true}`, a.EntityID))
		want(t, f.gate.Serve(t.Context(), ask), "invalid")
	}
}
