package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/token"
)

// parseJSON makes of a configuration in JSON the tree that its HCL form has. (The
// reader of JSON in the module for HCL keeps no lines and passes over what is no
// JSON.)
func parseJSON(src []byte) (*ast.ObjectList, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(src, &whole); err != nil {
		return nil, err
	}
	r := &jsonReader{src: src, decoder: json.NewDecoder(bytes.NewReader(src))}
	r.decoder.UseNumber()
	node, err := r.value()
	if err != nil {
		return nil, err
	}
	object, ok := node.(*ast.ObjectType)
	if !ok {
		return nil, errors.New("is not an object of settings")
	}
	return object.List, nil
}

// jsonReader reads JSON that is known to be whole.
type jsonReader struct {
	src     []byte
	decoder *json.Decoder
	depth   int
}

// maxConfigDepth is how deeply a configuration may be nested: nothing it can say
// needs a quarter of it.
const maxConfigDepth = 32

func (r *jsonReader) value() (ast.Node, error) {
	t, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	if r.depth++; r.depth > maxConfigDepth {
		return nil, errors.New("is nested too deeply")
	}
	defer func() { r.depth-- }()
	switch t {
	case json.Delim('{'):
		return r.object()
	case json.Delim('['):
		return r.list()
	}
	return &ast.LiteralType{Token: r.literal(t)}, nil
}

// object reads up to the closing brace. A list of objects is as many blocks.
func (r *jsonReader) object() (ast.Node, error) {
	at, list := r.pos(), &ast.ObjectList{}
	for r.decoder.More() {
		name, err := r.decoder.Token()
		if err != nil {
			return nil, err
		}
		key := r.literal(name)
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		for _, item := range items(key, v) {
			list.Add(item)
		}
	}
	_, err := r.decoder.Token()
	return &ast.ObjectType{Lbrace: at, List: list}, err
}

func (r *jsonReader) list() (ast.Node, error) {
	out := &ast.ListType{Lbrack: r.pos()}
	for r.decoder.More() {
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		out.Add(v)
	}
	_, err := r.decoder.Token()
	return out, err
}

// items are what a key and its value stand for: one setting, or a block for each
// object of a list, which lies where its object does.
func items(key token.Token, v ast.Node) []*ast.ObjectItem {
	list, ok := v.(*ast.ListType)
	if !ok || len(list.List) == 0 || slices.ContainsFunc(list.List, notAnObject) {
		return []*ast.ObjectItem{{Keys: []*ast.ObjectKey{{Token: key}}, Val: v}}
	}
	var out []*ast.ObjectItem
	for _, v := range list.List {
		key.Pos = v.Pos()
		out = append(out, &ast.ObjectItem{Keys: []*ast.ObjectKey{{Token: key}}, Val: v})
	}
	return out
}

func notAnObject(n ast.Node) bool {
	_, ok := n.(*ast.ObjectType)
	return !ok
}

// literal is a value that is no object and no list; null is an empty text.
func (r *jsonReader) literal(t json.Token) token.Token {
	out := token.Token{Type: token.STRING, Pos: r.pos(), JSON: true}
	switch v := t.(type) {
	case string:
		out.Text = strconv.Quote(v)
	case bool:
		out.Type, out.Text = token.BOOL, strconv.FormatBool(v)
	case json.Number:
		out.Type, out.Text = token.NUMBER, v.String()
		if strings.ContainsAny(out.Text, ".eE") {
			out.Type = token.FLOAT
		}
	}
	return out
}

func (r *jsonReader) pos() token.Pos {
	return token.Pos{Line: lineAt(r.src, r.decoder.InputOffset())}
}

// lineAt is the number of the line in which an offset lies.
func lineAt(src []byte, offset int64) int {
	return 1 + bytes.Count(src[:min(offset, int64(len(src)))], []byte("\n"))
}
