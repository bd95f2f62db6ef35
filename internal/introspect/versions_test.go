package introspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/build"
	"github.com/strongroom/strongroom/internal/introspect"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// TestVersionHistory has the program's own version written down: that of the API, by which clients go, hardly changes.
func TestVersionHistory(t *testing.T) {
	program, _ := build.Version()
	if program == server.Version {
		t.Fatal("the program's version is not told from the API's here")
	}
	a := servertest.Start(t).Do(t, "LIST", "sys/version-history", root, "")
	names, _ := a.Field("data", "keys").([]any)
	info, _ := a.Field("data", "key_info", program).(map[string]any)
	if a.Status != 200 || len(names) != 1 || names[0] != program || info["previous_version"] != nil || info["timestamp_installed"] == "" {
		t.Errorf("%d %s", a.Status, a.Text())
	}
}

func TestEachVersionIsWrittenDownOnce(t *testing.T) {
	s, start := mem.Open(), time.Unix(1700000000, 0)
	for i, v := range []string{"1.9.0", "1.9.0", "1.10.0", "1.9.0", "1.11.0"} {
		committed := map[string]string{"1.10.0": "2023-11-10T09:08:07Z"}[v]
		if err := introspect.RecordVersion(t.Context(), s, v, committed, start.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.List(t.Context(), store.Prefix("root/version/"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"root/version/1.9.0":  `{"installed":"2023-11-14T22:13:20Z"}`,
		"root/version/1.10.0": `{"installed":"2023-11-15T00:13:20Z","previous":"1.9.0","committed":"2023-11-10T09:08:07Z"}`,
		"root/version/1.11.0": `{"installed":"2023-11-15T02:13:20Z","previous":"1.10.0"}`,
	}
	for _, e := range rows {
		if string(e.Value) != want[e.Key] {
			t.Errorf("%s is %s, want %s", e.Key, e.Value, want[e.Key])
		}
	}
	if len(rows) != len(want) {
		t.Errorf("%d rows, want %d", len(rows), len(want))
	}
}

// TestVersionsTellOfTheirCommit has a version that was built from a checkout answer with when its commit was made, by both names.
func TestVersionsTellOfTheirCommit(t *testing.T) {
	s := mem.Open()
	for version, committed := range map[string]string{"1.9.0": "", "1.10.0": "2023-11-10T09:08:07Z"} {
		if err := introspect.RecordVersion(t.Context(), s, version, committed, time.Unix(1700000000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	endpoints, err := api.Bind(&introspect.Node{Store: s}, introspect.Routes())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range endpoints {
		if e.Pattern != "version-history" {
			continue
		}
		list, err := e.Invoke(&api.Call{Context: t.Context()}, &api.None{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(list.(*api.Keys).Info)
		if err != nil || strings.Count(string(b), `"commit_date":"2023-11-10T09:08:07Z","build_date":"2023-11-10T09:08:07Z"`) != 1 ||
			strings.Count(string(b), `"commit_date":"","build_date":""`) != 1 {
			t.Errorf("%s, %v", b, err)
		}
		return
	}
	t.Error("no such endpoint")
}

// damagedList is a store of which a row in a list cannot be read.
type damagedList struct{ store.Store }

func (d damagedList) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	es, err := d.Store.List(ctx, r)
	return es, errors.Join(err, store.ErrCorrupt)
}

// A server starts although a row of the versions is damaged, and leaves that as it is.
func TestDamagedVersionKeepsNobodyFromStarting(t *testing.T) {
	s := mem.Open()
	if err := introspect.RecordVersion(t.Context(), damagedList{s}, "1.9.0", "", time.Unix(1700000000, 0)); err != nil {
		t.Error(err)
	}
}
