package declined_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/declined"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// Whatever is refused by design says so, and what to do instead.
func TestEveryRefusalHasARemedy(t *testing.T) {
	eps, err := api.Bind(&declined.Desk{}, declined.Routes())
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t)
	methods := map[api.Op]string{api.Read: "GET", api.Write: "POST", api.Delete: "DELETE", api.List: "LIST", api.Scan: "SCAN"}
	for _, e := range eps {
		path := "sys/" + strings.NewReplacer("{type}", "secret", "{name}", "x", "{path...}", "a/b").Replace(e.Pattern)
		a := s.Do(t, methods[e.Op], path, servertest.Root, "{}")
		if a.Status != 400 || strings.Count(a.Text(), ";") == 0 || strings.Contains(a.Text(), "internal") {
			t.Errorf("%s %s: %d %s", e.Op, path, a.Status, a.Text())
		}
		if a := s.Do(t, methods[e.Op], path, "", "{}"); a.Status != 403 {
			t.Errorf("%s %s without a token: %d", e.Op, path, a.Status)
		}
	}
}

func TestWhatIsAskedForIsNamed(t *testing.T) {
	s := servertest.Start(t)
	for path, text := range map[string]string{
		"plugins/catalog/secret/mine": "everything is built in",
		"plugins/catalog/mine":        "everything is built in",
		"plugins/reload/backend":      "cannot be reloaded",
		"workflows/execute/x":         "no workflows",
		"storage/raft/join":           "no raft peers",
	} {
		if a := s.Do(t, "POST", "sys/"+path, servertest.Root, `{"name":"x","command":"x","sha256":"x","mounts":"secret/"}`); a.Status != 400 || !strings.Contains(a.Text(), text) {
			t.Errorf("%s: %d %s", path, a.Status, a.Text())
		}
	}
}
