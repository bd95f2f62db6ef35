package house

import (
	"slices"
	"sort"
	"strings"
	"testing"
)

// files is a small tree to try a rule on: text by path.
type files map[string]string

// rule is a house rule: what of a package breaks it, with packages that do and
// one that does not.
type rule struct {
	name  string
	check func(pkg []*source) []string
	bad   []files
	good  files
}

// each makes a rule of single files.
func each(check func(*source) []string) func([]*source) []string {
	return func(pkg []*source) []string {
		var out []string
		for _, s := range pkg {
			out = append(out, check(s)...)
		}
		return out
	}
}

func rules() []rule {
	return slices.Concat(shapeRules(), codeRules(), importRules(), aliasRules(), engineRules())
}

func TestHouseRules(t *testing.T) {
	pkgs := packages(tree(t))
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, pkg := range pkgs {
				report(t, r.check(pkg))
			}
		})
	}
}

func report(t *testing.T, broken []string) {
	t.Helper()
	sort.Strings(broken)
	for _, b := range broken {
		t.Error(b)
	}
}

// A rule that cannot fail guards nothing.
func TestRulesCanFail(t *testing.T) {
	for _, r := range rules() {
		for _, bad := range r.bad {
			if len(broken(t, r, bad)) == 0 {
				t.Errorf("%s: passes %v", r.name, bad)
			}
		}
		if got := broken(t, r, r.good); len(got) > 0 {
			t.Errorf("%s: fails what is right: %s", r.name, strings.Join(got, "; "))
		}
		if len(r.bad) == 0 || len(r.good) == 0 {
			t.Errorf("%s: has no example", r.name)
		}
	}
}

func broken(t *testing.T, r rule, tree files) []string {
	t.Helper()
	var all []*source
	for name, text := range tree {
		s, err := parse(name, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		all = append(all, s)
	}
	var out []string
	for _, pkg := range packages(all) {
		out = append(out, r.check(pkg)...)
	}
	return out
}
