package house

import (
	"go/ast"
	"go/types"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// requestField is a field of a request type.
type requestField struct {
	at         ast.Node
	in         *source
	name       string // on the wire
	alias      string // the field that it is declared to be another name of
	deprecated bool
	comment    string
}

// thing is the name that a field and its aliases share.
func (f *requestField) thing() string {
	if f.alias != "" {
		return f.alias
	}
	return f.name
}

// structs are the structs of a package by name.
func structs(pkg []*source) map[string]*ast.StructType {
	out := map[string]*ast.StructType{}
	for _, s := range pkg {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if t, ok := n.(*ast.TypeSpec); ok {
				if st, ok := t.Type.(*ast.StructType); ok && !s.test() {
					out[t.Name.Name] = st
				}
			}
			return true
		})
	}
	return out
}

// typeName is a type's name in its own package, without its star.
func typeName(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// requests are the fields of the types that handlers take, of types within them
// too, by type and Go name.
func requests(pkg []*source) map[string]map[string]*requestField {
	out := map[string]map[string]*requestField{}
	all := structs(pkg)
	var take func(s *source, name string)
	take = func(s *source, name string) {
		if all[name] == nil || out[name] != nil {
			return
		}
		out[name] = map[string]*requestField{}
		for _, f := range all[name].Fields.List {
			take(s, typeName(f.Type))
			for _, id := range f.Names {
				out[name][id.Name] = fieldOf(s, f)
			}
		}
	}
	for _, s := range pkg {
		for _, f := range functions(s) {
			if p := f.Type.Params.List; !s.test() && len(p) == 2 && types.ExprString(p[0].Type) == "*api.Call" {
				take(s, typeName(p[1].Type))
			}
		}
	}
	return out
}

func fieldOf(s *source, f *ast.Field) *requestField {
	out := &requestField{at: f, in: s, comment: f.Comment.Text() + f.Doc.Text()}
	if f.Tag == nil {
		return out
	}
	text, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return out
	}
	tag := reflect.StructTag(text)
	out.name, _, _ = strings.Cut(tag.Get("json"), ",")
	for word := range strings.SplitSeq(tag.Get("api"), ",") {
		if of, ok := strings.CutPrefix(word, "alias="); ok {
			out.alias = of
		}
		out.deprecated = out.deprecated || word == "deprecated"
	}
	return out
}

var otherName = regexp.MustCompile(`(?i)\b(old|older|former|earlier|other|another|second|alternative|legacy)\b.{0,20}\b(name|way|spelling|form)\b`)

// checkAliases wants a second name of a request's field to be declared, since
// only what is declared is known to the policies: one that a handler makes by
// hand is a way round their rules.
func checkAliases(pkg []*source) []string {
	known := requests(pkg)
	var out []string
	for _, fields := range known {
		for _, f := range fields {
			if otherName.MatchString(f.comment) && f.alias == "" {
				out = append(out, f.in.at(f.at.Pos(), "%s is called another name in words: declare it, with alias=", f.name))
			}
			if f.alias != "" && (lookedAt(f.name) || lookedAt(f.alias)) {
				out = append(out, f.in.at(f.at.Pos(), "%s: the gate itself looks at %s, by one name", f.name, f.alias))
			}
		}
	}
	for _, s := range pkg {
		for _, f := range functions(s) {
			if !s.test() && f.Body != nil {
				out = append(out, (&flow{s: s, fn: f, from: parameters(f, known)}).check()...)
			}
		}
	}
	return out
}

// lookedAt reports whether the gate looks at a member before it is decoded.
func lookedAt(name string) bool { return name == "token" || name == "limit" }

// parameters are the fields of the requests that a function is given, by the
// parameter's name.
func parameters(f *ast.FuncDecl, known map[string]map[string]*requestField) map[string]map[string]*requestField {
	out := map[string]map[string]*requestField{}
	list := f.Type.Params.List
	if f.Recv != nil {
		list = append(f.Recv.List[:1:1], list...)
	}
	for _, p := range list {
		for _, id := range p.Names {
			if fields := known[typeName(p.Type)]; fields != nil {
				out[id.Name] = fields
			}
		}
	}
	return out
}

// flow is where a function puts the fields of its request.
type flow struct {
	s    *source
	fn   *ast.FuncDecl
	from map[string]map[string]*requestField
	into map[string]string // the thing that went into a place, by the place as it is written
	path []ast.Node        // from the body to where the walk is
	out  []string
}

func (w *flow) check() []string {
	w.into = map[string]string{}
	ast.Inspect(w.fn.Body, func(n ast.Node) bool {
		if n == nil {
			w.path = w.path[:len(w.path)-1]
			return true
		}
		w.path = append(w.path, n)
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if f := w.field(n); f != nil && f.deprecated && f.alias == "" {
				w.out = append(w.out, w.s.at(n.Pos(), "%s is deprecated and yet means something: declare whose alias it is", f.name))
			}
		case *ast.AssignStmt:
			for i := range n.Lhs {
				if len(n.Lhs) == len(n.Rhs) {
					w.put(n.Lhs[i], n.Rhs[i], w.instead(n.Lhs[i]))
				}
			}
		case *ast.CallExpr:
			w.call(n)
		}
		return true
	})
	return w.out
}

// call sees what a call puts into the place whose address it is given, and what
// is put together by append and cmp.Or.
func (w *flow) call(c *ast.CallExpr) {
	if len(c.Args) < 2 {
		return
	}
	switch name := types.ExprString(c.Fun); {
	case name == "append" || name == "cmp.Or":
		for _, a := range c.Args[1:] {
			w.put(c.Args[0], a, true)
		}
	default:
		if dst, ok := c.Args[0].(*ast.UnaryExpr); ok {
			for _, a := range c.Args[1:] {
				w.put(dst.X, a, true)
			}
		}
	}
}

// instead reports whether what is assigned to a place takes the place of another
// field: it is one itself, or whether it is assigned depends on what was sent.
func (w *flow) instead(dst ast.Expr) bool {
	sent, place := w.field(dst) != nil, types.ExprString(dst)
	depends := func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		sent = sent || ok && (w.field(e) != nil || types.ExprString(e) == place)
		return !sent
	}
	for _, n := range w.path {
		switch n := n.(type) {
		case *ast.IfStmt:
			ast.Inspect(n.Cond, depends)
		case *ast.CaseClause:
			for _, e := range n.List {
				ast.Inspect(e, depends)
			}
		}
	}
	return sent
}

// put notes that a value goes into a place; of two things in one place, of which
// one is there instead of the other, one is the other's second name.
func (w *flow) put(dst, value ast.Expr, instead bool) {
	f := w.field(value)
	if f == nil || f.name == "" || f.name == "-" {
		return
	}
	place := types.ExprString(dst)
	if there := w.field(dst); there != nil && w.into[place] == "" {
		w.into[place] = there.thing()
	}
	if before := w.into[place]; instead && before != "" && before != f.thing() {
		w.out = append(w.out, w.s.at(value.Pos(), "%s and %s go into one place: declare which is the other's alias", before, f.thing()))
	}
	w.into[place] = f.thing()
}

// field is the request's field that an expression is, as it is or converted.
func (w *flow) field(e ast.Expr) *requestField {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return w.field(e.X)
	case *ast.StarExpr:
		return w.field(e.X)
	case *ast.CallExpr:
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && len(e.Args) == 0 {
			return w.field(sel.X)
		}
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return w.from[x.Name][e.Sel.Name]
		}
	}
	return nil
}

func aliasRules() []rule {
	request := func(tag, comment, body string) files {
		return files{"a/a.go": "package a\ntype R struct {\n\tA string `json:\"a\"`\n\tB string `json:\"b\"" + tag + "`" + comment + "\n\tC string `json:\"token\"`\n}\n" +
			"func h(c *api.Call, q *R) { " + body + " }\n", "a/b.go": "package a\nfunc (q *R) apply(dst *T) { set(&dst.a, q.A); dst.c = q.C }\nfunc set(a, b any) {}\n"}
	}
	more := request("", "", "")
	more["a/c.go"] = "package a\nfunc (q *R) more(dst *T) { set(&dst.a, q.A)\n\tset(&dst.a, q.B) }\n"
	good := request(` api:"deprecated,alias=a"`, " // Old name of a.", "q.A = q.B; x := append(q.A, q.B...); if q.A == q.C { x = y(q.A, q.C) }; z := q.A; if c.Now { z = q.C }")
	return []rule{{"a second name is declared", checkAliases, []files{
		request("", " // Old name of a.", ""),
		request("", " // Another way to give a.", ""),
		request(` api:"deprecated"`, "", "print(q.B)"),
		request("", "", `if q.A == "" { q.A = q.B }`),
		request("", "", "x := append(q.A, q.B...)"),
		request("", "", "x := cmp.Or(q.A, q.B)"),
		request("", "", "x := q.A; if x == nil { x = *q.B }"),
		request("", "", "x := q.A; switch { case q.A == 0: x = *q.B }"),
		request("", "", "setRenamed(&dst.x, q.A, q.B.Std())"),
		request(` api:"alias=token"`, "", ""),
		more,
	}, good}}
}
