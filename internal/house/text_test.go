package house

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"
)

// The patterns are written so that this file does not match them.
var (
	machinePath = regexp.MustCompile("(?:^|[\\s\"'`=(:]|file://)(/(?:home|root|work|farm|Users|tm[p])/[A-Za-z0-9_.-]+)")
	link        = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	registry    = regexp.MustCompile(`\b(proxy\.golang\.org|sum\.golang\.org|goproxy\.(?:io|cn)|registry\.npmjs\.org|registry\.yarnpkg\.com|pypi\.org|files\.pythonhosted\.org|(?:static\.)?crates\.io|rubygems\.org|registry\.k8s\.io|ghcr\.io|quay\.io|(?:index\.)?docker\.io|repo\.maven\.apache\.org|deb\.debian\.org|archive\.ubuntu\.com)\b`)
)

// found are the lines of a text that a pattern matches.
func found(name string, text []byte, p *regexp.Regexp) []string {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil // not a text
	}
	var out []string
	for i, line := range strings.Split(string(text), "\n") {
		if m := p.FindStringSubmatch(line); m != nil {
			out = append(out, fmt.Sprintf("%s:%d: %s", name, i+1, m[1]))
		}
	}
	return out
}

func TestFilesNameNoMachine(t *testing.T) {
	for name, text := range tracked(t) {
		report(t, found(name, text, machinePath))
		report(t, found(name, text, registry))
	}
}

func TestPatternsMatch(t *testing.T) {
	at := func(parts ...string) string { return "/" + strings.Join(parts, "/") }
	for text, want := range map[string]bool{
		"see " + at("home", "alice", "x"): true, `"` + at("tm"+"p", "x") + `"`: true, "file://" + at("root", "x"): true, "C=" + at("Users", "bob"): true,
		"/v1/sys/rotate" + at("root", "init"): false, "example.com" + at("home", "x"): false, "the " + at("root") + " of it": false,
	} {
		if got := len(found("x", []byte(text), machinePath)) > 0; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for text, want := range map[string]bool{"https://proxy." + "golang.org/x": true, "docker." + "io/library": true, "golang.org/x/term": false} {
		if got := len(found("x", []byte(text), registry)) > 0; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// astray are the links of a Markdown page to files that are not there.
func astray(name string, text []byte, there func(string) bool) []string {
	var out []string
	for _, m := range link.FindAllStringSubmatch(string(text), -1) {
		if to := path.Join(path.Dir(name), m[1]); !there(to) {
			out = append(out, fmt.Sprintf("%s: links to %s, which is not there", name, to))
		}
	}
	return out
}

func TestPagesLinkToWhatIsThere(t *testing.T) {
	all := tracked(t)
	there := func(name string) bool {
		for file := range all {
			if file == name || strings.HasPrefix(file, name+"/") {
				return true
			}
		}
		return false
	}
	for name, text := range all {
		if strings.HasSuffix(name, ".md") {
			report(t, astray(name, text, there))
		}
	}
	if got := astray("docs/a.md", []byte("[b](../b.md#x), [c](c), [d](https://d), [here](#here)"), func(s string) bool { return s == "docs/c" }); len(got) != 1 {
		t.Errorf("of one link astray: %v", got)
	}
}
