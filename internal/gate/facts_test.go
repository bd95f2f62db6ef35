package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/namespace"
)

// under is a policy that reads things under a condition.
func under(condition string) string {
	return fmt.Sprintf("path \"probe/thing/*\" {\n capabilities = [\"read\"]\n condition = %q\n}", condition)
}

func TestConditionsSeeTheRequest(t *testing.T) {
	f := newFixture(t)
	f.house.ConditionHeaders = []string{"X-Device"}
	from := func(addr string) func(*gate.Request) {
		return func(r *gate.Request) { r.Remote = netip.MustParseAddrPort(addr) }
	}
	header := func(name string, values ...string) func(*gate.Request) {
		return func(r *gate.Request) { r.Headers = http.Header{name: values} }
	}
	wrapped := func(r *gate.Request) { r.WrapTTL = time.Minute }
	for _, c := range []struct {
		condition string
		change    func(*gate.Request)
		want      string
	}{
		{"source.within('127.0.0.0/8')", nil, ""},
		{"source.within('127.0.0.0/8')", from("10.0.0.1:1"), "denied"},
		{"source.within('127.0.0.0/8')", from("[::ffff:127.0.0.1]:1"), ""},
		{"request.headers['x-device'] == 'a, b'", header("X-Device", "a", "b"), ""},
		{"request.headers['x-device'] == 'a'", header("X-Other", "a"), "denied"},
		{"'x-other' in request.headers", header("X-Other", "a"), "denied"}, // not named in the configuration
		{"size(request.headers) == 0", header("X-Other", "a"), ""},
		{"auth.age < duration('1h')", nil, ""},
		{"auth.age > duration('1h')", nil, "denied"},
		{"auth.method == 'token'", nil, "denied"}, // made at auth/probe, which is no mount
		{"token.type == 'service' && token.metadata['team'] == 'x'", nil, ""},
		{"token.display_name == 'ada'", nil, ""},
		{"request.namespace == '' && request.operation == 'read' && request.segments[2] == 'a'", nil, ""},
		{"request.wrap_ttl == duration('1m')", wrapped, ""},
		{"request.wrap_ttl == duration('1m')", nil, "denied"},
		{"now.getFullYear('UTC') > 2000", nil, ""},
	} {
		tok := f.holder(namespace.RootID, under(c.condition), func(a *api.Auth) {
			a.Metadata, a.DisplayName = map[string]string{"team": "x"}, "ada"
		})
		r := request(api.Read, "probe/thing/a", tok)
		if c.change != nil {
			c.change(r)
		}
		t.Run(c.condition, func(t *testing.T) { want(t, f.gate.Serve(context.Background(), r), c.want) })
	}
}

func TestConditionsKnowTheNamespace(t *testing.T) {
	f := newFixture(t)
	f.child(api.Namespace{ID: namespace.RootID}, "eng")
	tok := f.holder(namespace.RootID, `path "eng/probe/thing/*" { capabilities = ["read"] condition = "request.namespace == 'eng/' && request.path == 'eng/probe/thing/a'" }`)
	want(t, f.do(api.Read, "eng/probe/thing/a", tok), "")
	want(t, f.do(api.Read, "eng/probe/thing/b", tok), "denied")
	gone := f.holder(namespace.RootID, `path "gone/probe/*" { capabilities = ["read"] condition = "request.namespace == 'gone/'" }`)
	r := request(api.Read, "probe/x", gone)
	r.Namespace = "gone"
	want(t, f.gate.Serve(context.Background(), r), "not found")
}

func TestCapabilitiesWeighConditions(t *testing.T) {
	f := newFixture(t)
	tok := f.holder(namespace.RootID, under("source.within('127.0.0.0/8')")+"\n"+`path "sys/capabilities-self" { capabilities = ["update"] }`)
	asked := func(r *gate.Response) []string {
		var out map[string][]string
		if err := json.Unmarshal(r.Data, &out); err != nil {
			t.Fatal(err, r.Err)
		}
		return out["capabilities"]
	}
	self := f.body(request(api.Write, "sys/capabilities-self", tok), `{"paths":["probe/thing/a"]}`)
	if got := asked(f.gate.Serve(context.Background(), self)); !slices.Equal(got, []string{"read"}) {
		t.Errorf("its own: %v", got)
	}
	self.Remote = netip.MustParseAddrPort("10.0.0.1:1")
	if got := asked(f.gate.Serve(context.Background(), self)); !slices.Equal(got, []string{"deny"}) {
		t.Errorf("its own from elsewhere: %v", got)
	}
	// Where another's requests will come from is not known.
	other := f.body(request(api.Write, "sys/capabilities", f.root), fmt.Sprintf(`{"paths":["probe/thing/a"],"token":%q}`, tok))
	if got := asked(f.gate.Serve(context.Background(), other)); !slices.Equal(got, []string{"deny"}) {
		t.Errorf("another's: %v", got)
	}
}
