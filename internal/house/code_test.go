package house

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

func checkInit(s *source) []string {
	var out []string
	for _, f := range functions(s) {
		if f.Recv == nil && f.Name.Name == "init" {
			out = append(out, s.at(f.Pos(), "init() runs unasked; wire it in server"))
		}
	}
	return out
}

// state are the variables of a package that can hold any.
func state(pkg []*source) map[string]*ast.ValueSpec {
	out := map[string]*ast.ValueSpec{}
	for _, s := range pkg {
		if s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					out[name.Name] = spec.(*ast.ValueSpec)
				}
			}
		}
	}
	delete(out, "_")
	return out
}

// root is the variable that an expression changes a part of.
func root(e ast.Expr) ast.Expr {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok && id.Obj == nil && id.Name != "_" {
				return x
			}
			e = x.X
		default:
			return e
		}
	}
}

// checkState finds package-level variables that something changes: of their
// own package, or of another of ours.
func checkState(pkg []*source) []string {
	vars := state(pkg)
	var out []string
	for name, v := range vars {
		if kind := lock(v.Type); kind != "" {
			out = append(out, pkg[0].dir()+": "+name+" is a "+kind+" at package level")
		}
	}
	for _, s := range pkg {
		if s.test() {
			continue
		}
		changed := func(e ast.Expr) {
			if name := s.variable(root(e), vars); name != "" {
				out = append(out, s.at(e.Pos(), "%s is changed, and is at package level", name))
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool { changes(n, changed); return true })
	}
	return out
}

// lock is the synchronised type that a variable has, which says it is changed.
func lock(t ast.Expr) string {
	sel, ok := t.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "sync" || x.Name == "atomic") {
		return x.Name + "." + sel.Sel.Name
	}
	return ""
}

// changes calls fn for every expression that a node changes.
func changes(n ast.Node, fn func(ast.Expr)) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for _, e := range n.Lhs {
			if n.Tok != token.DEFINE {
				fn(e)
			}
		}
	case *ast.IncDecStmt:
		fn(n.X)
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
			fn(n.Args[0])
		}
	}
}

// variable is the package-level variable that an expression names; empty when
// it is none of ours.
func (s *source) variable(e ast.Expr, vars map[string]*ast.ValueSpec) string {
	switch e := e.(type) {
	case *ast.Ident:
		v := vars[e.Name]
		if v != nil && (e.Obj == nil || e.Obj.Decl == v) {
			return e.Name
		}
	case *ast.SelectorExpr:
		x := e.X.(*ast.Ident)
		if vars[x.Name] != nil {
			return x.Name
		}
		if strings.HasPrefix(s.imports()[x.Name], module) {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}

// wired reports whether a package may take the time from the machine: the
// programs, the wiring, which hand it to the logic, and what is for tests alone.
func wired(s *source) bool {
	switch d := s.dir(); {
	case d == ".", d == "internal/server", d == "internal/cli", d == "bench", strings.HasPrefix(d, "test/"), strings.HasSuffix(d, "test"):
		return true
	}
	return s.test()
}

func checkTime(s *source) []string {
	var out []string
	for _, u := range s.uses("time", "Now", "Since", "Until") {
		if !wired(s) {
			out = append(out, s.at(u.Pos(), "time.%s in logic; take a func() time.Time", u.Sel.Name))
		}
	}
	for _, u := range s.uses("time", "Sleep") {
		if s.imports()["synctest"] == "" {
			out = append(out, s.at(u.Pos(), "sleeps; wait for the event, or test with testing/synctest"))
		}
	}
	return out
}

func checkSkip(s *source) []string {
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && s.test() {
			switch sel.Sel.Name {
			case "Skip", "Skipf", "SkipNow":
				out = append(out, s.at(sel.Pos(), "skips a test"))
			}
		}
		return true
	})
	return out
}

// unfinished is what marks work as not done, unless an issue's number follows.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b(\(#\d+\))?`)

func checkUnfinished(s *source) []string {
	var out []string
	for _, g := range s.file.Comments {
		for _, m := range unfinished.FindAllStringSubmatch(g.Text(), -1) {
			if m[2] == "" {
				out = append(out, s.at(g.Pos(), "%s without an issue's number", m[1]))
			}
		}
	}
	return out
}

func checkCompare(s *source) []string {
	if s.test() {
		return nil
	}
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && (reveals(n.X) || reveals(n.Y)) {
				out = append(out, s.at(n.Pos(), "compares a secret by %s; use Equal or Empty", n.Op))
			}
		case *ast.CallExpr:
			if s.comparesOpened(n) {
				out = append(out, s.at(n.Pos(), "compares a secret in a time that tells of it; use Equal"))
			}
		}
		return true
	})
	return out
}

// comparesOpened reports whether a call compares texts, one of them a secret's.
func (s *source) comparesOpened(c *ast.CallExpr) bool {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok || x.Name != "bytes" && x.Name != "strings" {
		return false
	}
	for _, a := range c.Args {
		if conv, ok := a.(*ast.CallExpr); ok && len(conv.Args) == 1 {
			a = conv.Args[0] // []byte(s.Reveal())
		}
		if reveals(a) && (sel.Sel.Name == "Equal" || sel.Sel.Name == "EqualFold" || sel.Sel.Name == "Compare") {
			return true
		}
	}
	return false
}

// checkPrint keeps packages from writing past the log and the writers that they
// are handed.
func checkPrint(s *source) []string {
	if s.test() || s.program() || !strings.HasPrefix(s.dir(), "internal/") {
		return nil
	}
	var out []string
	for _, u := range append(s.uses("fmt", "Print*"), s.uses("log", "Print*", "Fatal*", "Panic*", "Default")...) {
		out = append(out, s.at(u.Pos(), "prints; write to a *slog.Logger or an io.Writer that is handed in"))
	}
	for _, u := range s.uses("os", "Stdout", "Stderr") {
		out = append(out, s.at(u.Pos(), "takes the program's output; have it handed in"))
	}
	return out
}

// checkDropped finds errors of closing, committing and the like thrown away.
func checkDropped(s *source) []string {
	if s.test() {
		return nil
	}
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || len(a.Lhs) != 1 || len(a.Rhs) != 1 {
			return true
		}
		id, blank := a.Lhs[0].(*ast.Ident)
		call, isCall := a.Rhs[0].(*ast.CallExpr)
		if blank && id.Name == "_" && isCall && dropped.MatchString(called(call)) {
			out = append(out, s.at(a.Pos(), "drops the error of %s", called(call)))
		}
		return true
	})
	return out
}

var dropped = regexp.MustCompile(`^(?i:close|commit|sync|write|remove|flush)`)

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.Ident:
		return f.Name
	}
	return ""
}

func codeRules() []rule {
	mark := "// TO" + "DO"
	return []rule{
		{"no init()", each(checkInit), []files{{"a/a.go": "package a\nfunc init() {}"}}, files{"a/a.go": "package a\ntype t int\nfunc (t) init() {}"}},
		{"no mutable state at package level", checkState, []files{
			{"a/a.go": "package a\nvar m = map[int]int{}\nfunc f() { m[1] = 2 }"},
			{"a/a.go": "package a\nvar n int", "a/b.go": "package a\nfunc f() { n++ }"},
			{"a/a.go": "package a\nvar l []int\nfunc f() { l = append(l, 1) }"},
			{"a/a.go": "package a\nvar c struct{ x []int }", "a/b.go": "package a\nfunc f() { c.x[0] = 1 }"},
			{"a/a.go": "package a\nimport \"sync\"\nvar mu sync.Mutex"},
			{"a/a.go": "package a\nvar m map[int]int\nfunc f() { delete(m, 1) }"},
			{"a/a.go": "package a\nimport \"" + module + "/internal/audit\"\nfunc f() { audit.Routes = nil }"},
		}, files{"a/a.go": "package a\nvar m = map[int]int{}\nfunc f() { m := []int{1}; m[0] = 2; var x struct{ m int }; x.m = 3 }\nfunc g(m []int) { m[0] = 1 }"}},
		{"time is handed in", each(checkTime), []files{
			{"internal/kv/a.go": "package kv\nimport \"time\"\nvar f = time.Now"},
			{"internal/server/a.go": "package server\nimport \"time\"\nfunc f() { time.Sleep(1) }"},
			{"internal/kv/a_test.go": "package kv\nimport \"time\"\nfunc f() { time.Sleep(1) }"},
		}, files{"internal/server/a.go": "package server\nimport \"time\"\nvar f = time.Now", "internal/kv/a_test.go": "package kv\nimport (\n\t\"testing/synctest\"\n\t\"time\"\n)\nfunc f() { synctest.Wait(); time.Sleep(1) }"}},
		{"no test is skipped", each(checkSkip), []files{{"a/a_test.go": "package a\nfunc f(t T) { t.Skip() }"}},
			files{"a/a.go": "package a\nfunc f(t T) { t.Skip() }"}},
		{"nothing is left unfinished", each(checkUnfinished), []files{{"a/a.go": "package a\n" + mark + " later"}}, files{"a/a.go": "package a\n" + mark + "(#12) later"}},
		{"secrets are compared in constant time", each(checkCompare), []files{
			{"a/a.go": "package a\nvar x = s.Reveal() == t"}, {"a/a.go": "package a\nvar x = bytes.Equal([]byte(s.Reveal()), t)"}, {"a/a.go": "package a\nvar x = strings.EqualFold(t, s.Reveal())"},
		}, files{"a/a.go": "package a\nvar x = s.Equal(t) && n == 1 && bytes.Equal(a, b)"}},
		{"nothing prints past its writers", each(checkPrint), []files{
			{"internal/a/a.go": "package a\nimport \"fmt\"\nfunc f() { fmt.Println() }"}, {"internal/a/a.go": "package a\nimport \"log\"\nfunc f() { log.Fatal() }"},
			{"internal/a/a.go": "package a\nimport \"os\"\nvar w = os.Stderr"},
		}, files{"internal/a/a.go": "package a\nimport (\n\t\"fmt\"\n\t\"log/slog\"\n)\nfunc f() { fmt.Fprintln(w); slog.New(h) }"}},
		{"errors are not dropped", each(checkDropped), []files{{"a/a.go": "package a\nfunc f() { _ = x.Close() }"}, {"a/a.go": "package a\nfunc f() { _ = os.RemoveAll(d) }"}},
			files{"a/a.go": "package a\nfunc f() { err = x.Close(); _ = g() }"}},
	}
}
