package server

import (
	"crypto/x509"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/internal/api"
)

// metricName finds the metrics that an expression names.
var metricName = regexp.MustCompile(`\b(?:vault|strongroom|process|go)_[a-z0-9_]+`)

// exposed are the metrics of a server that has all there is to be measured.
func exposed(t *testing.T) map[string]bool {
	t.Helper()
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{})
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{a.listener()}, Audit: logFile(filepath.Join(t.TempDir(), "audit.log"))}
	ls, err := Listen(c)
	a.must(err)
	s, err := Open(t.Context(), c, quiet(), io.Discard, time.Now)
	a.must(err)
	s.listeners.Store(ls)
	w := &world{Server: s, t: t}
	if code, _ := w.ask("root", "GET", "auth/token/lookup-self", ""); code != 200 {
		t.Fatal(code)
	}
	raw, err := s.meter.Read("prometheus")
	a.must(err)
	a.must(ls.Close())
	a.must(s.Close())
	names := map[string]bool{}
	for line := range strings.Lines(string(raw.Body)) {
		if name := metricName.FindString(line); name != "" && strings.HasPrefix(line, name) {
			names[name] = true
		}
	}
	if len(names) < 30 {
		t.Fatalf("only %v", names)
	}
	return names
}

func deployed(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", file))
	if err == nil {
		err = yaml.UnmarshalStrict(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// unknown are the metrics that expressions name and that are not there.
func unknown(there map[string]bool, exprs ...string) (out []string) {
	for _, e := range exprs {
		for _, name := range metricName.FindAllString(e, -1) {
			if !there[name] {
				out = append(out, name)
			}
		}
	}
	return out
}

// alertRules are what a file of rules may have.
type alertRules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

// dashboard is the part of a dashboard that matters here.
type dashboard struct {
	Title  string
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr string }
	}
}

// Dashboard and alert rules name metrics that there are.
func TestDashboardAndRulesNameMetrics(t *testing.T) {
	there := exposed(t)
	if len(unknown(there, "rate(vault_core_no_such[5m])")) != 1 {
		t.Fatal("a metric that is not there is not found out")
	}
	var rules alertRules
	deployed(t, "prometheus/rules.yml", &rules)
	for _, r := range rules.Groups[0].Rules {
		if got := unknown(there, r.Expr); len(got) > 0 {
			t.Errorf("%s: no server has %q", r.Alert, got)
		}
		if _, err := time.ParseDuration(r.For); err != nil || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s is not whole: %+v", r.Alert, r)
		}
	}
	var board map[string]any
	deployed(t, "grafana/strongroom.json", &board)
	raw, err := json.Marshal(board)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(raw, &d); err != nil || d.Title == "" || len(d.Panels) < 10 || len(rules.Groups[0].Rules) < 10 {
		t.Fatalf("%+v, %v", d, err)
	}
	d.check(t, there)
}

func (d *dashboard) check(t *testing.T, there map[string]bool) {
	t.Helper()
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			if got := unknown(there, target.Expr); len(got) > 0 || target.Expr == "" {
				t.Errorf("%s: no server has %q", p.Title, got)
			}
		}
		if ids[p.ID] || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: %+v", p.Title, p)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
