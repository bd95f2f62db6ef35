package gate_test

import (
	"context"
	"encoding/json"
	"slices"
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
