package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"

	"sigs.k8s.io/yaml"
)

const chartDir = "../../deploy/helm/strongroom"

// chart renders the Helm chart as helm template does, with those of its functions
// that the chart uses.
func chart(t *testing.T, change func(values map[string]any)) (map[string]map[string]any, error) {
	t.Helper()
	values, about := map[string]any{}, map[string]any{}
	deployed(t, "helm/strongroom/values.yaml", &values)
	deployed(t, "helm/strongroom/Chart.yaml", &about)
	if change != nil {
		change(values)
	}
	root := template.New("").Option("missingkey=error")
	include := func(name string, data any) (string, error) {
		var out strings.Builder
		err := root.ExecuteTemplate(&out, strings.TrimPrefix(name, "chart/"), data)
		return out.String(), err
	}
	indent := func(n int, s string) string {
		return strings.Repeat(" ", n) + strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
	}
	root.Funcs(template.FuncMap{
		"include": include,
		"fail":    func(why string) (string, error) { return "", errors.New(why) },
		"quote":   func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"trunc":   func(n int, s string) string { return s[:min(n, len(s))] },
		"nindent": func(n int, s string) string { return "\n" + indent(n, s) },
		"default": func(otherwise, v any) any {
			if v == nil || reflect.ValueOf(v).IsZero() {
				return otherwise
			}
			return v
		},
		"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
		"sha256sum":  func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) },
		"toYaml": func(v any) (string, error) {
			out, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(out), "\n"), err
		},
	})
	files, err := filepath.Glob(filepath.Join(chartDir, "templates", "*"))
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := root.New("templates/" + filepath.Base(f)).Parse(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	data := map[string]any{"Values": values, "Release": map[string]any{"Name": "r", "Service": "Helm", "Namespace": "n"},
		"Chart": map[string]any{"AppVersion": about["appVersion"]}, "Template": map[string]any{"BasePath": "chart/templates"}}
	return objects(t, root, files, data)
}

// objects are what the templates make, by kind.
func objects(t *testing.T, root *template.Template, files []string, data any) (map[string]map[string]any, error) {
	t.Helper()
	out := map[string]map[string]any{}
	for _, f := range files {
		var text bytes.Buffer
		if err := root.ExecuteTemplate(&text, "templates/"+filepath.Base(f), data); err != nil {
			return nil, err
		}
		if filepath.Ext(f) != ".yaml" {
			continue
		}
		object := map[string]any{}
		if err := yaml.UnmarshalStrict(text.Bytes(), &object); err != nil {
			t.Fatalf("%s: %v\n%s", f, err, text.String())
		}
		kind, ok := object["kind"].(string)
		if !ok || object["apiVersion"] == nil {
			t.Fatalf("%s: %s", f, text.String())
		}
		out[kind] = object
	}
	return out, nil
}

// at is what lies in nested maps and lists, whose places are numbers.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				return nil
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func set(values map[string]any, group, name string, to any) {
	m, ok := values[group].(map[string]any)
	if !ok {
		values[name] = to
		return
	}
	m[name] = to
}

func TestChart(t *testing.T) {
	for _, try := range []struct {
		name   string
		change func(map[string]any)
		scheme string
		want   func(*Config) bool
	}{
		{"TLS", func(v map[string]any) { set(v, "tls", "secretName", "s") }, "HTTPS", func(c *Config) bool {
			return c.Listeners[0].CertFile == "/etc/strongroom/tls/tls.crt" && !c.LocalSlot
		}},
		{"all", func(v map[string]any) {
			set(v, "tls", "disable", true)
			set(v, "metrics", "unauthenticated", true)
			set(v, "", "localKey", true)
			set(v, "", "extraConfig", "log_level = \"warn\"\ncluster_name = \"c\"")
			set(v, "storage", "className", "fast")
			set(v, "", "nodeSelector", map[string]any{"a": "b"})
		}, "HTTP", func(c *Config) bool {
			return c.Listeners[0].Plain && c.Listeners[0].OpenMetrics && c.LocalSlot && c.LogLevel == "warn" && c.ClusterName == "c"
		}},
	} {
		t.Run(try.name, func(t *testing.T) {
			made, err := chart(t, try.change)
			if err != nil {
				t.Fatal(err)
			}
			text, ok := at(made["ConfigMap"], "data", "strongroom.hcl").(string)
			c, err := ParseConfig("chart", []byte(text))
			if err != nil || !ok || !try.want(c) || c.DataDir != "/var/lib/strongroom" || len(c.Audit) != 1 || len(c.Ignored) > 0 {
				t.Errorf("%v\n%s", err, text)
			}
			pod := at(made["StatefulSet"], "spec", "template", "spec")
			if got := at(pod, "containers", 0, "readinessProbe", "httpGet", "scheme"); got != try.scheme {
				t.Errorf("probed by %v", got)
			}
			selector := at(made["Service"], "spec", "selector")
			if !reflect.DeepEqual(selector, at(made["StatefulSet"], "spec", "selector", "matchLabels")) {
				t.Errorf("the service selects %v", selector)
			}
			checkVolumes(t, made["StatefulSet"])
			if at(pod, "containers", 0, "securityContext", "readOnlyRootFilesystem") != true || at(pod, "securityContext", "runAsNonRoot") != true {
				t.Error("the pod may do more than it must")
			}
		})
	}
}

// checkVolumes: what is mounted is there.
func checkVolumes(t *testing.T, set map[string]any) {
	t.Helper()
	there := map[any]bool{at(set, "spec", "volumeClaimTemplates", 0, "metadata", "name"): true}
	pod := at(set, "spec", "template", "spec")
	for i := 0; at(pod, "volumes", i) != nil; i++ {
		there[at(pod, "volumes", i, "name")] = true
	}
	i := 0
	for ; at(pod, "containers", 0, "volumeMounts", i) != nil; i++ {
		if name := at(pod, "containers", 0, "volumeMounts", i, "name"); !there[name] {
			t.Errorf("no volume is %v", name)
		}
	}
	if i < 2 {
		t.Error("nothing is mounted")
	}
}

// What brings secrets into Kubernetes had manifests of one namespace read those of another (CVE-2024-45041 and others). Nothing
// that is installed there may read, or write, an object of Kubernetes: the pod is given no token and no rights.
// Control: with the token mounted, or a Role among the templates, it fails.
func TestCVE_2024_45041_ChartMayReadNothing(t *testing.T) {
	made, err := chart(t, func(v map[string]any) { set(v, "tls", "secretName", "s") })
	if err != nil {
		t.Fatal(err)
	}
	for kind := range made {
		if !slices.Contains([]string{"ConfigMap", "Service", "ServiceAccount", "StatefulSet"}, kind) {
			t.Errorf("the chart makes a %s", kind)
		}
	}
	for what, got := range map[string]any{"the pod": at(made["StatefulSet"], "spec", "template", "spec", "automountServiceAccountToken"),
		"the account": at(made["ServiceAccount"], "automountServiceAccountToken")} {
		if got != false {
			t.Errorf("%s has a token: %v", what, got)
		}
	}
}

// Plain HTTP is never what a chart without settings serves.
func TestChartWantsTLS(t *testing.T) {
	if _, err := chart(t, nil); err == nil || !strings.Contains(err.Error(), "set tls.secretName") {
		t.Fatal(err)
	}
}

// The configuration of the package is one that a server starts with.
func TestPackagedConfiguration(t *testing.T) {
	c, err := LoadConfig("../../deploy/strongroom.hcl")
	if err != nil || c.Validate() != nil || c.DataDir != "/var/lib/strongroom" || len(c.Audit) != 1 || len(c.Ignored) > 0 {
		t.Fatalf("%+v, %v", c, err)
	}
}
