package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// top is the repository's directory.
const top = "../.."

const module = "github.com/strongroom/strongroom"

// source is one Go file.
type source struct {
	path string // from the top, with slashes
	text []byte
	fset *token.FileSet
	file *ast.File
}

// parse reads a Go file for the rules.
func parse(name string, text []byte) (*source, error) {
	s := &source{path: name, text: text, fset: token.NewFileSet()}
	var err error
	s.file, err = parser.ParseFile(s.fset, name, text, parser.ParseComments)
	return s, err
}

// dir is the package's directory; "." for the top.
func (s *source) dir() string { return path.Dir(s.path) }

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// program reports whether the file is of a main package.
func (s *source) program() bool { return s.file.Name.Name == "main" }

func (s *source) lines() int { return bytes.Count(s.text, []byte("\n")) }

// at says what is wrong where.
func (s *source) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

// imports are the import paths of the file by the name it calls them.
func (s *source) imports() map[string]string {
	out := map[string]string{}
	for _, i := range s.file.Imports {
		full := strings.Trim(i.Path.Value, `"`)
		name := path.Base(full)
		if i.Name != nil {
			name = i.Name.Name
		}
		out[name] = full
	}
	return out
}

// uses are the places that name something of the package imported from full. A
// star at a name's end stands for any rest.
func (s *source) uses(full string, names ...string) []*ast.SelectorExpr {
	var out []*ast.SelectorExpr
	known := s.imports()
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok || x.Obj != nil || known[x.Name] != full {
			return true
		}
		for _, name := range names {
			if sel.Sel.Name == name || strings.HasSuffix(name, "*") && strings.HasPrefix(sel.Sel.Name, name[:len(name)-1]) {
				out = append(out, sel)
			}
		}
		return true
	})
	return out
}

// unkept are files that git does not keep.
func unkept(name string) bool {
	switch path.Ext(name) {
	case ".test", ".out", ".prof":
		return true
	}
	return name == ".git" || name == "dist" || name == "strongroom"
}

// tracked are the texts of all kept files, by path.
func tracked(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	root := os.DirFS(top)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case unkept(name) && d.IsDir():
			return fs.SkipDir
		case unkept(name) || !d.Type().IsRegular():
			return nil
		}
		files[name], err = fs.ReadFile(root, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// tree are all Go files.
func tree(t *testing.T) []*source {
	t.Helper()
	var out []*source
	for name, text := range tracked(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		s, err := parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if len(out) < 100 {
		t.Fatalf("only %d Go files were found", len(out))
	}
	return out
}

// packages groups files by directory.
func packages(all []*source) map[string][]*source {
	out := map[string][]*source{}
	for _, s := range all {
		out[s.dir()] = append(out[s.dir()], s)
	}
	return out
}
