package main

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"path"
	"sort"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// repository is where files are shown that are not part of the site.
const repository = "https://github.com/strongroom/strongroom/blob/main/"

// page is one page of the site.
type page struct {
	Source string // name of the text, from docs
	File   string // name of the page, from the top of the site
	Title  string
	text   []byte
	tree   ast.Node
	ids    map[string]bool // of its headings
}

// group is the pages of one directory.
type group struct {
	Name  string
	Pages []*page
}

// shown is what the layout is given.
type shown struct {
	*page
	Groups []group
	Root   string // the way from the page to the top of the site
	Body   template.HTML
}

// build makes the site of what is written in docs: its files by name. It reports
// every link that leads nowhere.
func build(docs fs.FS) (map[string][]byte, error) {
	view, err := template.New("page").Parse(layout)
	if err != nil {
		return nil, err
	}
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	pages, err := load(docs, md)
	if err != nil {
		return nil, err
	}
	files, groups := map[string][]byte{}, grouped(pages)
	var errs []error
	for _, p := range pages {
		errs = append(errs, p.relink(pages)...)
		var body, out bytes.Buffer
		if err := md.Renderer().Render(&body, p.text, p.tree); err != nil {
			return nil, err
		}
		// goldmark leaves out raw HTML and dangerous links.
		data := shown{p, groups, strings.Repeat("../", strings.Count(p.File, "/")), template.HTML(body.String())}
		if err := view.Execute(&out, data); err != nil {
			return nil, err
		}
		files[p.File] = out.Bytes()
	}
	return files, errors.Join(errs...)
}

// load reads all texts, by name.
func load(docs fs.FS, md goldmark.Markdown) (map[string]*page, error) {
	pages := map[string]*page{}
	err := fs.WalkDir(docs, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".md" {
			return err
		}
		text, err := fs.ReadFile(docs, name)
		if err != nil {
			return err
		}
		pages[name] = parse(md, name, text)
		return nil
	})
	if err == nil && pages["reference/README.md"] != nil && pages["README.md"] == nil {
		pages["reference/README.md"].File = "index.html"
	}
	return pages, err
}

func parse(md goldmark.Markdown, name string, src []byte) *page {
	p := &page{Source: name, Title: name, text: src, tree: md.Parser().Parse(text.NewReader(src)), ids: map[string]bool{}}
	p.File = strings.TrimSuffix(name, ".md") + ".html"
	if dir, file := path.Split(name); file == "README.md" {
		p.File = dir + "index.html"
	}
	p.each(func(n ast.Node) {
		h, ok := n.(*ast.Heading)
		if !ok {
			return
		}
		if id, ok := h.AttributeString("id"); ok {
			if b, ok := id.([]byte); ok {
				p.ids[string(b)] = true
			}
		}
		if h.Level == 1 && p.Title == name {
			p.Title = plain(h, src)
		}
	})
	return p
}

// each visits every node.
func (p *page) each(visit func(ast.Node)) {
	stack := []ast.Node{p.tree}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		visit(n)
		for c := n.LastChild(); c != nil; c = c.PreviousSibling() {
			stack = append(stack, c)
		}
	}
}

// plain is the text of a heading.
func plain(n ast.Node, src []byte) string {
	var out strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			out.Write(t.Value(src))
			continue
		}
		out.WriteString(plain(c, src))
	}
	return out.String()
}

// relink makes links between texts ones between pages.
func (p *page) relink(pages map[string]*page) (wrong []error) {
	p.each(func(n ast.Node) {
		l, ok := n.(*ast.Link)
		if !ok {
			return
		}
		to, err := p.target(pages, string(l.Destination))
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: the link to %s: %w", p.Source, l.Destination, err))
		}
		l.Destination = []byte(to)
	})
	return wrong
}

// target is where a link leads, from this page.
func (p *page) target(pages map[string]*page, link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil || u.IsAbs() || u.Host != "" {
		return link, err
	}
	to := p
	if u.Path != "" {
		name := path.Join(path.Dir(p.Source), u.Path)
		if to = pages[name]; to == nil {
			to = pages[path.Join(name, "README.md")]
		}
		if to == nil {
			return repository + path.Join("docs", name), nil
		}
	}
	if u.Fragment != "" && !to.ids[u.Fragment] {
		return link, errors.New("that page has no such heading")
	}
	if u.Path == "" {
		return link, nil
	}
	out := strings.Repeat("../", strings.Count(p.File, "/")) + to.File
	if u.Fragment != "" {
		out += "#" + u.Fragment
	}
	return out, nil
}

// grouped are the pages by directory, the reference first.
func grouped(pages map[string]*page) []group {
	names := map[string]string{"reference": "Reference", ".": "About", "decisions": "Decisions"}
	by := map[string][]*page{}
	for _, p := range pages {
		by[path.Dir(p.Source)] = append(by[path.Dir(p.Source)], p)
	}
	order := []string{"reference", ".", "decisions"}
	for dir := range by {
		if names[dir] == "" {
			names[dir] = dir
			order = append(order, dir)
		}
	}
	sort.Strings(order[3:])
	var out []group
	for _, dir := range order {
		sort.Slice(by[dir], func(i, j int) bool { return by[dir][i].Source < by[dir][j].Source })
		if len(by[dir]) > 0 {
			out = append(out, group{names[dir], by[dir]})
		}
	}
	return out
}
