package server

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// settingsRead are the names of settings by which the parser of configurations decides: the
// texts of all cases that keyOf, or what is called key, is compared with.
func settingsRead(t *testing.T, files ...string) map[string]bool {
	t.Helper()
	read := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if n.Op == token.EQL && isKey(n.X) {
					collect(n.Y, read)
				}
			case *ast.SwitchStmt:
				for _, c := range n.Body.List {
					for _, e := range c.(*ast.CaseClause).List {
						if isKey(n.Tag) {
							collect(e, read)
						}
					}
				}
			}
			return true
		})
	}
	return read
}

// collect adds what a literal text says.
func collect(e ast.Expr, read map[string]bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return
	}
	if text, err := strconv.Unquote(lit.Value); err == nil {
		read[text] = true
	}
}

// isKey reports whether an expression is the name of a setting.
func isKey(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "key"
	case *ast.CallExpr:
		f, ok := e.Fun.(*ast.Ident)
		return ok && f.Name == "keyOf"
	}
	return false
}

// TestEverySettingIsDocumented holds docs/configuration.md against what is read: each setting
// is in it, and the tables name no other.
func TestEverySettingIsDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("parse*.go")
	if err != nil {
		t.Fatal(err)
	}
	read := settingsRead(t, append(files, "limits.go")...)
	for _, name := range []string{"lockout_threshold", "lockout_duration", "lockout_counter_reset", "disable_lockout"} {
		read[name] = true // which the mount reads, for tunes too
	}
	for _, known := range [][]string{topSettings, listenerSettings} {
		for _, name := range known {
			if !read[name] {
				t.Errorf("%s is suggested to who mistypes it, and read nowhere that this test looks", name)
			}
		}
	}
	if len(read) < 90 {
		t.Errorf("only %d settings were found in the parser", len(read))
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z][a-z0-9_]*)`").FindAllSubmatch(page, -1) {
		named[string(m[1])] = true
	}
	for name := range read {
		if !named[name] {
			t.Errorf("docs/configuration.md does not tell of %s", name)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| ((?:`[a-z0-9_]+`(?:, )?)+) \\|").FindAllSubmatch(page, -1) {
		for _, m := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllSubmatch(row[1], -1) {
			if !read[string(m[1])] {
				t.Errorf("docs/configuration.md tells of %s, which is read nowhere", m[1])
			}
		}
	}
}
