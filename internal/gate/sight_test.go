package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
)

func TestListsHoldWhatTheCallerMaySee(t *testing.T) {
	f := newFixture(t)
	f.engine.keys = []string{"a", "b", "c/", "d/"}
	tok := f.holder(namespace.RootID, `
path "probe/page" { capabilities = ["list"] }
path "probe/odd" { capabilities = ["list"] }
path "probe/page/a" { capabilities = ["read"] }
path "probe/page/c/x" { capabilities = ["read"] }
path "probe/page/d/*" { capabilities = ["deny"] }`)
	list := func(tok string, filter bool, want ...string) {
		t.Helper()
		r := request(api.List, "probe/page", tok)
		r.Filter = filter
		resp := f.gate.Serve(context.Background(), r)
		var got api.Keys
		if resp.Err == nil {
			if err := json.Unmarshal(resp.Data, &got); err != nil {
				t.Fatal(err)
			}
		} else if api.KindOf(resp.Err) != api.NotFound {
			t.Error(resp.Err)
		}
		if !slices.Equal(got.Keys, want) {
			t.Errorf("%v, want %v", got.Keys, want)
		}
	}
	list(tok, false, "a", "b", "c/", "d/")
	list(tok, true, "a", "c/")
	list(f.root, true, "a", "b", "c/", "d/")
	list(f.holder(namespace.RootID, `path "probe/page" { capabilities = ["list"] }`), true)
	odd := request(api.List, "probe/odd", tok)
	want(t, f.gate.Serve(context.Background(), odd), "")
	odd.Filter = true
	want(t, f.gate.Serve(context.Background(), odd), "denied")
	if err := f.house.Mounts.Enable(context.Background(), namespace.RootID, &mount.Entry{Path: "tuned/", Type: "probe", Config: mount.Config{FilterLists: true}}); err != nil {
		t.Fatal(err)
	}
	narrow := f.holder(namespace.RootID, `path "tuned/page" { capabilities = ["list"] }
path "tuned/page/b" { capabilities = ["delete"] }`)
	var got api.Keys
	resp := f.do(api.List, "tuned/page", narrow)
	if want(t, resp, ""); resp.Err == nil {
		if err := json.Unmarshal(resp.Data, &got); err != nil || !slices.Equal(got.Keys, []string{"b"}) {
			t.Errorf("%v, %v", got.Keys, err)
		}
	}
}

// TestPagesTellNothingOfWhatIsHidden has a caller ask for pages of a filtered list.
// Each must be what it would be if what is hidden were not there: else a page that
// is short, or begins elsewhere, gives the hidden names away.
func TestPagesTellNothingOfWhatIsHidden(t *testing.T) {
	f := newFixture(t)
	hidden := []string{"b", "b-secret", "e", "f", "g", "z"}
	seen := []string{"a", "c", "d", "h"}
	f.engine.keys = slices.Sorted(slices.Values(slices.Concat(hidden, seen)))
	rights := `path "probe/page" { capabilities = ["list"] %s }
path "probe/page/a" { capabilities = ["read"] }
path "probe/page/c" { capabilities = ["read"] }
path "probe/page/d" { capabilities = ["read"] }
path "probe/page/h" { capabilities = ["read"] }`
	filtered := f.holder(namespace.RootID, fmt.Sprintf(rights, `list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}"`))
	bounded := f.holder(namespace.RootID, fmt.Sprintf(rights, `pagination_limit = 2`))
	page := func(token, after, limit string) (got api.Keys, kind api.Kind) {
		r := request(api.List, "probe/page", token)
		r.Filter = token != filtered
		r.Body = must[api.Body](t)(api.ParseBody([]byte(`{"after":"` + after + `","limit":` + limit + `}`)))
		resp := f.gate.Serve(t.Context(), r)
		if resp.Err != nil {
			return got, api.KindOf(resp.Err)
		}
		if err := json.Unmarshal(resp.Data, &got); err != nil {
			t.Fatal(err)
		}
		return got, 0
	}
	for _, after := range append([]string{"", "b-secres", "b-secreu", "zz"}, f.engine.keys...) {
		left := slices.DeleteFunc(slices.Clone(seen), func(k string) bool { return k <= after })
		for limit := range 6 {
			for token, most := range map[string]int{filtered: 0, bounded: 2} {
				n := limit
				if most > 0 && (n == 0 || n > most) {
					n = most
				}
				want := left
				if n > 0 {
					want = left[:min(n, len(left))]
				}
				got, kind := page(token, after, strconv.Itoa(limit))
				if most > 0 && limit > most {
					if kind != api.Denied {
						t.Errorf("a page of %d where %d are allowed: %v", limit, most, kind)
					}
				} else if !slices.Equal(got.Keys, want) || n > 0 && len(got.Info) != len(want) || (kind == api.NotFound) != (len(want) == 0) {
					t.Errorf("%d behind %q of at most %d: %v, %d described, %v; want %v", limit, after, most, got.Keys, len(got.Info), kind, want)
				}
			}
		}
	}
	for _, limit := range []string{`"0x1"`, `1e0`, `[1]`, `true`} { // which a handler could take for 1
		if got, kind := page(filtered, "a", limit); kind != api.Invalid {
			t.Errorf("a limit of %s: %v, %v", limit, got.Keys, kind)
		}
	}
}
