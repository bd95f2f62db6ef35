package house

import (
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// allowed is what each package may import of ours, without its tests. A package
// that is not here may not be: adding one is a decision about where it belongs.
// A star stands for every package below; "*" alone for all of ours.
func allowed() map[string][]string {
	all := program()
	maps.Copy(all, trials())
	return all
}

// program is the part of the table for what the binary is made of.
func program() map[string][]string {
	return map[string][]string{
		".":                           {"internal/cli", "internal/server"},
		"client":                      {},
		"internal/store":              {},
		"internal/store/*":            {"internal/store"},
		"internal/store/etcd/member":  {"internal/store/etcd"},
		"internal/spelling":           {}, // pure
		"internal/api":                {"internal/spelling", "internal/store"},
		"internal/policy":             {}, // pure
		"internal/policy/cases":       {"internal/policy"},
		"internal/barrier":            {"internal/store"},
		"internal/seal":               {"internal/api", "internal/barrier", "internal/store"},
		"internal/recipient":          {"internal/api"},
		"internal/schedule":           {"internal/store"},
		"internal/audit":              {"internal/api", "internal/store"},
		"internal/namespace":          {"internal/api", "internal/policy", "internal/store"},
		"internal/mount":              {"internal/api", "internal/policy", "internal/store"},
		"internal/policies":           {"internal/api", "internal/policy", "internal/schedule", "internal/store"},
		"internal/token":              {"internal/api", "internal/policy", "internal/schedule", "internal/store"},
		"internal/fleet":              {"internal/api", "internal/store"},
		"internal/operator":           {"internal/api", "internal/barrier", "internal/fleet", "internal/namespace", "internal/recipient", "internal/seal", "internal/store"},
		"internal/snapshot":           {"internal/api", "internal/barrier", "internal/fleet", "internal/seal", "internal/snapshot/framed", "internal/store"},
		"internal/snapshot/framed":    {}, // pure
		"internal/engine/*":           {"internal/api", "internal/store"},
		"internal/auth/*":             {"internal/api", "internal/authrole", "internal/issuer", "internal/jws", "internal/outbound", "internal/store"},
		"internal/authrole":           {"internal/api", "internal/store"},
		"internal/authtest":           {"internal/api", "internal/store/mem"}, // for tests alone
		"internal/issuer":             {"internal/api", "internal/jws", "internal/outbound", "internal/store"},
		"internal/jws":                {"internal/api"}, // pure
		"internal/outbound":           {"internal/api"},
		"internal/lockout":            {"internal/api", "internal/store"},
		"internal/password":           {"internal/api"},
		"internal/gate":               {"internal/api", "internal/audit", "internal/identity", "internal/lease", "internal/mfa", "internal/mount", "internal/namespace", "internal/policies", "internal/policy", "internal/quota", "internal/schedule", "internal/settings", "internal/store", "internal/token", "internal/wrapping"},
		"internal/quota":              {"internal/api", "internal/mount", "internal/namespace", "internal/policy", "internal/schedule", "internal/store", "internal/token"},
		"internal/identity":           {"internal/api", "internal/policy", "internal/schedule", "internal/store"},
		"internal/mfa":                {"internal/api", "internal/identity", "internal/policy", "internal/schedule", "internal/store"},
		"internal/oidc":               {"internal/api", "internal/identity", "internal/schedule", "internal/store"},
		"internal/lease":              {"internal/api", "internal/mount", "internal/namespace", "internal/schedule", "internal/store", "internal/token"},
		"internal/wrapping":           {"internal/api", "internal/namespace", "internal/store", "internal/token"},
		"internal/telemetry":          {"internal/api", "internal/gate", "internal/store"},
		"internal/logging":            {"internal/api"},
		"internal/profile":            {"internal/api"},
		"internal/tools":              {"internal/api"},
		"internal/settings":           {"internal/api", "internal/store"},
		"internal/hostinfo":           {},
		"internal/declined":           {"internal/api"},
		"internal/raw":                {"internal/api", "internal/namespace", "internal/store"},
		"internal/introspect":         {"internal/api", "internal/gate", "internal/hostinfo", "internal/mount", "internal/namespace", "internal/store"},
		"internal/door/*":             {"internal/api", "internal/gate"},
		"internal/reference":          {"internal/api"},
		"internal/reference/lift":     {"internal/reference"},
		"internal/reference/generate": {"internal/reference", "internal/reference/lift", "internal/server"},
		"internal/reference/site":     {},
		"internal/build":              {},
		"internal/cli":                {"client", "internal/build", "internal/policy", "internal/policy/cases", "internal/snapshot/framed", "internal/spelling"}, // policies can be tried, and snapshots looked at, without a server
		"internal/server":             {"*"},
		"internal/server/servertest":  {"*"}, // for tests alone
		"internal/house":              {},
	}
}

// trials is its part for what tries and measures the program.
func trials() map[string][]string {
	return map[string][]string{
		"bench":               {"internal/api", "internal/audit", "internal/server", "test/engine", "test/postgres", "test/process"},
		"test/engine":         {"test/postgres", "test/process"},
		"test/engine/with":    {"test/engine"},
		"test/deploy":         {},
		"test/process":        {},
		"test/openid":         {},
		"test/postgres":       {"test/process"},
		"test/proxy":          {},
		"test/freeradius":     {"test/process"},
		"test/slapd":          {"test/process"},
		"test/softkey":        {},
		"test/passkey":        {"test/process"},
		"test/blackbox":       {"internal/server/servertest"},
		"test/canary":         {},
		"test/hostile":        {"test/process"},
		"test/leak":           {"test/process"},
		"test/chaos":          {"test/postgres", "test/process"},
		"test/compat":         {"test/process", "test/slapd"},
		"test/compat/surface": {"test/process"},
		"test/script":         {"test/freeradius", "test/process", "test/readme", "test/slapd", "test/softkey"},
		"test/readme":         {"test/process"},
	}
}

func matches(pattern, dir string) bool {
	below, star := strings.CutSuffix(pattern, "*")
	return pattern == dir || star && strings.HasPrefix(dir, below)
}

// mayImport is the row of the table for a package; the longest pattern wins.
func mayImport(dir string) (targets []string, known bool) {
	best := -1
	for pattern, row := range allowed() {
		if matches(pattern, dir) && len(pattern) > best {
			targets, known, best = row, true, len(pattern)
		}
	}
	return targets, known
}

func checkImports(s *source) []string {
	targets, known := mayImport(s.dir())
	if !known {
		return []string{s.at(s.file.Package, "package %s is not in the table of imports", s.dir())}
	}
	var out []string
	for _, i := range s.file.Imports {
		rest, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module)
		to := strings.TrimPrefix(rest, "/")
		if !ours || s.test() || slices.ContainsFunc(targets, func(p string) bool { return matches(p, to) }) {
			continue
		}
		out = append(out, s.at(i.Pos(), "%s may not import %s", s.dir(), to))
	}
	return out
}

// forbidden are names that say nothing of what a package is for.
func forbidden(name string) bool {
	return slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "core", "base", "misc", "shared"}, name)
}

func checkPackageName(s *source) []string {
	if forbidden(s.file.Name.Name) || forbidden(path.Base(s.dir())) {
		return []string{s.at(s.file.Package, "package %s says nothing of what it is for", s.file.Name.Name)}
	}
	return nil
}

func checkPackageComment(pkg []*source) []string {
	commented := slices.ContainsFunc(pkg, func(s *source) bool { return s.file.Doc != nil })
	if commented {
		return nil
	}
	return []string{pkg[0].dir() + ": the package has no comment that says what it owns"}
}

// revealers are the packages that may turn a Secret into text, each with its
// reason. A package not here hands secrets on unseen.
func revealers() map[string]string {
	return map[string]string{
		"internal/api":             "owns Secret",
		"internal/auth/approle":    "answers a secret id of the operator's making with it",
		"internal/password":        "hashes passwords",
		"internal/audit":           "hashes tokens for its lines",
		"internal/auth/azure":      "verifies the tokens that log in, and keeps the secret of the client that asks where machines stand",
		"internal/auth/gcp":        "verifies the tokens that log in",
		"internal/auth/jwt":        "verifies the tokens that log in, and shows the provider its client's secret",
		"internal/auth/ldap":       "binds to the directory with passwords, and keeps that of its own account",
		"internal/auth/radius":     "hides passwords and signs requests with the shared secret, which it keeps",
		"internal/door/vault":      "writes a login's token into the answer",
		"internal/gate":            "looks up the token that a request presents",
		"internal/operator":        "answers unseal keys and the root token to who initialises",
		"internal/recipient":       "encrypts to the keys of those who are to have a secret",
		"internal/seal":            "decodes unseal keys",
		"internal/namespace":       "hashes what unlocks a namespace",
		"internal/auth/kubernetes": "shows tokens to the cluster that vouches for them",
		"internal/server":          "prints the root token of a first start, once",
		"internal/token":           "hashes and parses tokens",
		"internal/tools":           "takes the one-time pad off a new root token",
		"internal/oidc":            "judges the identity tokens that it is shown, and hands out those that it signs",
		"internal/wrapping":        "keeps a wrapped login's token until it is unwrapped",
		"internal/cli":             "sends tokens and prints them to who asked",
		"client":                   "sends tokens",
		"bench":                    "sends tokens",
		"internal/mfa":             "checks passcodes and passkeys, and hands back the right to register one",
	}
}

func checkReveal(s *source) []string {
	if s.test() || revealers()[s.dir()] != "" || strings.HasPrefix(s.dir(), "test/") {
		return nil
	}
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && reveals(c) {
			out = append(out, s.at(c.Pos(), "reveals a secret, and the package is not among those that may"))
		}
		return true
	})
	return out
}

// reveals reports whether an expression is a call that opens a secret.
func reveals(e ast.Expr) bool {
	c, ok := e.(*ast.CallExpr)
	if !ok || len(c.Args) > 0 {
		return false
	}
	sel, ok := c.Fun.(*ast.SelectorExpr)
	return ok && (sel.Sel.Name == "Reveal" || sel.Sel.Name == "Disclose")
}

func importRules() []rule {
	imp := func(what string) string {
		return "// Package x is x.\npackage x\nimport _ \"" + module + "/" + what + "\"\n"
	}
	return []rule{
		{"imports run downward", each(checkImports), []files{
			{"internal/engine/x/x.go": imp("internal/token")},
			{"internal/policy/x.go": imp("internal/store")},
			{"internal/cli/x.go": imp("internal/server")},
			{"internal/door/x/x.go": imp("internal/engine/kv")},
			{"internal/new/x.go": imp("internal/api")},
			{"internal/store/mem/x.go": imp("internal/api")},
		}, files{"internal/engine/x/x.go": imp("internal/api"), "internal/server/x.go": imp("internal/engine/kv"), "internal/policy/x_test.go": imp("internal/store")}},
		{"packages are named for what they own", each(checkPackageName), []files{
			{"internal/x/util/x.go": "package y"}, {"internal/x/x.go": "package common"},
		}, files{"internal/kv/x.go": "package kv"}},
		{"packages open with a comment", checkPackageComment, []files{{"a/a.go": "package a", "a/b.go": "// A file.\n\npackage a"}},
			files{"a/a.go": "package a", "a/b.go": "// Package a is a.\npackage a"}},
		{"secrets are revealed where they must be", each(checkReveal), []files{
			{"internal/mount/x.go": "package mount\nfunc f() { print(s.Reveal()) }"}, {"internal/engine/kv/x.go": "package kv\nvar x = s.Disclose()"},
		}, files{"internal/token/x.go": "package token\nvar x = s.Reveal()", "internal/mount/x.go": "package mount\nvar x = s.Equal(t)"}},
	}
}

// The table names no package that is gone.
func TestImportTableIsTrue(t *testing.T) {
	pkgs := packages(tree(t))
	for pattern := range allowed() {
		found := strings.HasPrefix(pattern, "internal/auth/") // methods come later; the rule stands already
		for dir := range pkgs {
			found = found || matches(pattern, dir)
		}
		if !found {
			t.Errorf("no package is %s", pattern)
		}
	}
}
