// Package lift reads the comments of request and response types and of
// handlers out of Go source, so that documentation says what the declarations
// say.
package lift

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/reference"
)

// Lift reads all packages below dir of fsys, without tests, main packages and
// test data. Types are those with a json or path tag; handlers are methods
// whose first parameter is an *api.Call, and generic functions that have it behind
// the engine that they serve. It returns an error when source does
// not parse or two types share package name and name.
func Lift(fsys fs.FS, dir string) (*reference.Comments, error) {
	l := &lifter{types: map[string]*structure{}, handlers: map[string]string{}}
	err := fs.WalkDir(fsys, dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		return l.file(fsys, path)
	})
	if err != nil {
		return nil, err
	}
	return l.comments(), nil
}

// structure is a struct type as written.
type structure struct {
	doc    string
	fields map[string]string
	embeds []string // keys of embedded structs
	wire   bool     // has a field with a tag
}

type lifter struct {
	types    map[string]*structure
	handlers map[string]string
}

func (l *lifter) file(fsys fs.FS, path string) error {
	text, err := fs.ReadFile(fsys, path)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("lifting comments: %w", err)
	}
	if f.Name.Name == "main" {
		return nil
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			l.handler(f.Name.Name, d)
		case *ast.GenDecl:
			if err := l.typesOf(f.Name.Name, d); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

func (l *lifter) handler(pkg string, d *ast.FuncDecl) {
	key, params := pkg+"."+d.Name.Name, d.Type.Params.List
	switch {
	case d.Recv != nil:
		key = pkg + "." + typeName(d.Recv.List[0].Type) + "." + d.Name.Name
	case d.Type.TypeParams != nil && len(params) > 0:
		params = params[1:]
	default:
		return
	}
	if len(params) == 0 || !isCall(pkg, params[0].Type) {
		return
	}
	if doc := plain(d.Doc); doc != "" {
		l.handlers[key] = doc
	}
}

// isCall reports whether a type is *api.Call.
func isCall(pkg string, t ast.Expr) bool {
	star, ok := t.(*ast.StarExpr)
	return ok && qualified(pkg, star.X) == "api.Call"
}

func typeName(t ast.Expr) string {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// qualified is a named type with its package; empty for any other type.
func qualified(pkg string, t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return qualified(pkg, t.X)
	case *ast.Ident:
		return pkg + "." + t.Name
	case *ast.SelectorExpr:
		if x, ok := t.X.(*ast.Ident); ok {
			return x.Name + "." + t.Sel.Name
		}
	}
	return ""
}

func (l *lifter) typesOf(pkg string, d *ast.GenDecl) error {
	for _, s := range d.Specs {
		spec, ok := s.(*ast.TypeSpec)
		if !ok {
			continue
		}
		st, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		key := pkg + "." + spec.Name.Name
		if l.types[key] != nil {
			return fmt.Errorf("two types are called %s", key)
		}
		doc := spec.Doc
		if doc == nil {
			doc = d.Doc
		}
		l.types[key] = structureOf(pkg, plain(doc), st)
	}
	return nil
}

func structureOf(pkg, doc string, st *ast.StructType) *structure {
	s := &structure{doc: doc, fields: map[string]string{}}
	for _, f := range st.Fields.List {
		if len(f.Names) == 0 {
			s.embeds = append(s.embeds, qualified(pkg, f.Type))
			continue
		}
		s.wire = s.wire || tagged(f.Tag)
		text := plain(f.Doc)
		if text == "" {
			text = plain(f.Comment)
		}
		for _, n := range f.Names {
			if text != "" && n.IsExported() {
				s.fields[n.Name] = text
			}
		}
	}
	return s
}

func tagged(lit *ast.BasicLit) bool {
	if lit == nil {
		return false
	}
	text, err := strconv.Unquote(lit.Value)
	tag := reflect.StructTag(text)
	return err == nil && (tag.Get("json") != "" || tag.Get("path") != "")
}

// plain is a comment's text on one line per paragraph.
func plain(g *ast.CommentGroup) string {
	paragraphs := strings.Split(strings.TrimSpace(g.Text()), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

// comments are what was found, with the fields of embedded structs beside
// those of the struct that embeds them.
func (l *lifter) comments() *reference.Comments {
	out := &reference.Comments{Types: map[string]reference.TypeComment{}, Handlers: l.handlers}
	for key, s := range l.types {
		fields := map[string]string{}
		if l.gather(s, fields, 0) {
			out.Types[key] = reference.TypeComment{Doc: s.doc, Fields: fields}
		}
	}
	return out
}

// deepest bounds how far embedding is followed.
const deepest = 8

// gather adds a struct's field comments, outer before embedded, and reports
// whether any of its fields is on the wire.
func (l *lifter) gather(s *structure, into map[string]string, depth int) bool {
	wire := s.wire
	for name, text := range s.fields {
		if _, known := into[name]; !known {
			into[name] = text
		}
	}
	for _, key := range s.embeds {
		if e := l.types[key]; e != nil && depth < deepest {
			wire = l.gather(e, into, depth+1) || wire
		}
	}
	return wire
}
