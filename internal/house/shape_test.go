package house

import (
	"bytes"
	"go/ast"
	"go/format"
	"slices"
	"strings"
	"testing"
)

// Bounds of length, in lines.
const (
	longestFunction = 80
	medianFunction  = 10
	p99Function     = 60
	longestFile     = 600
	longestTest     = 900
	mostMethods     = 6
)

// length is a function's lines, from func to its closing brace.
func length(s *source, f *ast.FuncDecl) int {
	return s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
}

func functions(s *source) []*ast.FuncDecl {
	var out []*ast.FuncDecl
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			out = append(out, f)
		}
	}
	return out
}

func checkFunctionLength(s *source) []string {
	var out []string
	for _, f := range functions(s) {
		if n := length(s, f); n > longestFunction {
			out = append(out, s.at(f.Pos(), "%s has %d lines, over %d", f.Name.Name, n, longestFunction))
		}
	}
	return out
}

func checkFileLength(s *source) []string {
	limit := longestFile
	if s.test() {
		limit = longestTest
	}
	if n := s.lines(); n > limit {
		return []string{s.at(s.file.Package, "the file has %d lines, over %d", n, limit)}
	}
	return nil
}

func checkInterfaces(s *source) []string {
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if i, ok := n.(*ast.InterfaceType); ok && i.Methods.NumFields() > mostMethods {
			out = append(out, s.at(i.Pos(), "an interface of %d methods, over %d", i.Methods.NumFields(), mostMethods))
		}
		return true
	})
	return out
}

func checkFormat(s *source) []string {
	want, err := format.Source(s.text)
	if err != nil || !bytes.Equal(want, s.text) {
		return []string{s.path + ": is not as gofmt writes it"}
	}
	return nil
}

// checkComments wants a comment on every exported name outside tests and
// programs.
func checkComments(s *source) []string {
	if s.test() || s.program() {
		return nil
	}
	var out []string
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
				out = append(out, s.at(d.Pos(), "%s has no comment", d.Name.Name))
			}
		case *ast.GenDecl:
			out = append(out, uncommented(s, d)...)
		}
	}
	return out
}

// exportedReceiver reports whether a function is no method, or one of an
// exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

func uncommented(s *source, d *ast.GenDecl) []string {
	var out []string
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
				out = append(out, s.at(spec.Pos(), "%s has no comment", spec.Name.Name))
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					out = append(out, s.at(name.Pos(), "%s has no comment", name.Name))
				}
			}
		}
	}
	return out
}

func shapeRules() []rule {
	long := "package a\nfunc f() {\n" + strings.Repeat("\tg()\n", longestFunction) + "}\n"
	methods := func(n int) string { return "package a\ntype T interface {\n" + strings.Repeat("\tM()\n", n) + "}\n" }
	return []rule{
		{"functions are short", each(checkFunctionLength), []files{{"a/a.go": long}}, files{"a/a.go": "package a\nfunc f() {}"}},
		{"files are short", each(checkFileLength), []files{{"a/a.go": "package a\n" + strings.Repeat("//\n", longestFile)}},
			files{"a/a_test.go": "package a\n" + strings.Repeat("//\n", longestFile)}},
		{"interfaces are small", each(checkInterfaces), []files{{"a/a.go": methods(mostMethods + 1)}}, files{"a/a.go": methods(mostMethods)}},
		{"files are as gofmt writes them", each(checkFormat), []files{{"a/a.go": "package a\nvar  x int\n"}}, files{"a/a.go": "package a\n\nvar x int\n"}},
		{"exported names have a comment", each(checkComments), []files{
			{"a/a.go": "package a\nfunc F() {}"}, {"a/a.go": "package a\ntype T int"}, {"a/a.go": "package a\nconst C = 1"},
			{"a/a.go": "package a\n// T is.\ntype T[V any] int\nfunc (*T[V]) M() {}"},
		}, files{"a/a.go": "package a\n// F does.\nfunc F() {}\ntype t int\nfunc (t) M() {}\n// Kinds.\nconst (\n\tA = 1\n)", "a/a_test.go": "package a\nfunc TestX() {}"}},
	}
}

// percentile of sorted lengths.
func percentile(lengths []int, p int) int { return lengths[min(len(lengths)-1, len(lengths)*p/100)] }

func TestFunctionsAreShortAsAWhole(t *testing.T) {
	var lengths []int
	for _, s := range tree(t) {
		if s.test() {
			continue
		}
		for _, f := range functions(s) {
			lengths = append(lengths, length(s, f))
		}
	}
	slices.Sort(lengths)
	p50, p99 := percentile(lengths, 50), percentile(lengths, 99)
	t.Logf("%d functions: half have at most %d lines, 99%% at most %d, the longest %d", len(lengths), p50, p99, lengths[len(lengths)-1])
	if p50 > medianFunction || p99 > p99Function {
		t.Errorf("half of all functions must have at most %d lines and 99%% at most %d", medianFunction, p99Function)
	}
}

func TestPercentile(t *testing.T) {
	if percentile([]int{1, 2, 3, 100}, 50) != 3 || percentile([]int{1, 2, 3, 100}, 99) != 100 {
		t.Error("percentile is wrong")
	}
}
