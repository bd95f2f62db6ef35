package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// requirement is a line of go.mod that names a module, with its mark where it
// is there for other modules only.
var requirement = regexp.MustCompile(`(?m)^(?:require\s+|\t)([a-z0-9.-]+\.[a-z]+/\S+|[a-z.]+\.[a-z]+/\S+) v\S+( // indirect)?$`)

// direct are the modules that go.mod requires for our own sake.
func direct(goMod string) []string {
	var out []string
	for _, m := range requirement.FindAllStringSubmatch(goMod, -1) {
		if m[2] == "" {
			out = append(out, m[1])
		}
	}
	return out
}

// unexplained are the modules for which the page has no row of five full cells:
// module, why, alternative considered, licence.
func unexplained(modules []string, page string) []string {
	var out []string
	for _, m := range modules {
		ok := false
		for line := range strings.SplitSeq(page, "\n") {
			cells := strings.Split(strings.Trim(line, "| "), "|")
			if len(cells) != 4 || strings.TrimSpace(cells[0]) != "`"+m+"`" {
				continue
			}
			ok = true
			for _, c := range cells {
				ok = ok && strings.TrimSpace(c) != ""
			}
		}
		if !ok {
			out = append(out, m)
		}
	}
	return out
}

func TestDependenciesAreExplained(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const page = "docs/decisions/0001-dependencies.md"
	modules := direct(read("go.mod"))
	if len(modules) < 5 {
		t.Fatalf("only %v were found in go.mod", modules)
	}
	text := read(page)
	for _, m := range unexplained(modules, text) {
		t.Errorf("%s does not say why %s is needed", page, m)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		if len(unexplained([]string{m[1]}, strings.Join(rows(modules), "\n"))) > 0 {
			t.Errorf("%s explains %s, which go.mod does not require", page, m[1])
		}
	}
}

// rows are full rows for modules.
func rows(modules []string) []string {
	out := make([]string, len(modules))
	for i, m := range modules {
		out[i] = "| `" + m + "` | a | b | c |"
	}
	return out
}

func TestDependencyCheckCanFail(t *testing.T) {
	mods := direct("require a.io/one v1.0.0\nrequire (\n\tb.io/two v2.0.0\n\tc.io/three v3.0.0 // indirect\n)\n")
	if len(mods) != 2 || mods[0] != "a.io/one" || mods[1] != "b.io/two" {
		t.Fatalf("%v", mods)
	}
	if got := unexplained(mods, "| `a.io/one` | why | or | MIT |\n| `b.io/two` | why |  | MIT |\n"); len(got) != 1 || got[0] != "b.io/two" {
		t.Errorf("%v", got)
	}
}
