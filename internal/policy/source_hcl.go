package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	hclparser "github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/scanner"
	hclstrconv "github.com/hashicorp/hcl/hcl/strconv"
	"github.com/hashicorp/hcl/hcl/token"
)

// readHCL reads HCL 1, the language in which policies have always been
// written. The parser recurses without bound, so the nesting is measured first.
func readHCL(src string) (node, *Fault) {
	if f := measureHCL(src); f != nil {
		return node{}, f
	}
	file, err := parseHCL(src)
	if err != nil {
		return node{}, hclFault(err)
	}
	top, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return node{}, &Fault{1, "this is not a policy", `write path "…" { capabilities = […] }`}
	}
	n := node{kind: block, line: 1}
	return n, fillBlock(&n, top)
}

// parseHCL turns a panic of the parser into an error: what it reads is written
// by anyone who may write policies.
func parseHCL(src string) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the parser gave up")
		}
	}()
	// Repeated keys are reported with their lines, later and all at once.
	return hclparser.ParseDontErrorOnDuplicateKeys([]byte(src))
}

// measureHCL refuses source that nests too deep or cannot be split into words.
func measureHCL(src string) (fault *Fault) {
	defer func() {
		if recover() != nil {
			fault = hclFault(errors.New("the scanner gave up"))
		}
	}()
	s := scanner.New([]byte(src))
	s.Error = func(pos token.Pos, _ string) {
		if fault == nil {
			fault = hclFault(&hclparser.PosError{Pos: pos})
		}
	}
	for depth := 0; fault == nil; {
		t := s.Scan()
		switch t.Type {
		case token.EOF:
			return fault
		case token.LBRACE, token.LBRACK:
			if depth++; depth > maxDepth {
				return tooDeep(t.Pos.Line)
			}
		case token.RBRACE, token.RBRACK:
			depth--
		}
	}
	return fault
}

// hclFault keeps the place of a syntax error and drops its text, which may
// quote a value.
func hclFault(err error) *Fault {
	line := 1
	if pos := (*hclparser.PosError)(nil); errors.As(err, &pos) {
		line = max(1, pos.Pos.Line)
	}
	return &Fault{line, "this is not valid HCL", "check for a missing quote, comma, equals sign or brace near this line"}
}

func fillBlock(n *node, from *ast.ObjectList) *Fault {
	for _, item := range from.Items {
		f, fault := hclField(item.Keys, item.Val)
		if fault != nil {
			return fault
		}
		n.fields = append(n.fields, f)
	}
	return nil
}

// hclField reads one item. A block with several keys, as in path "x" {}, is
// read as blocks within blocks, which is how JSON writes it.
func hclField(keys []*ast.ObjectKey, val ast.Node) (field, *Fault) {
	if len(keys) == 0 {
		return field{}, &Fault{max(1, val.Pos().Line), "a block has no name", `write path "…" { … }`}
	}
	f := field{line: keys[0].Pos().Line}
	key, fault := hclWord(keys[0].Token)
	if fault != nil {
		return f, fault
	}
	f.key = key
	if len(keys) == 1 {
		f.val, fault = hclNode(val)
		return f, fault
	}
	inner, fault := hclField(keys[1:], val)
	f.val = node{kind: block, line: inner.line, fields: []field{inner}}
	return f, fault
}

func hclNode(from ast.Node) (node, *Fault) {
	n := node{line: from.Pos().Line}
	switch v := from.(type) {
	case *ast.ObjectType:
		n.kind = block
		return n, fillBlock(&n, v.List)
	case *ast.ListType:
		n.kind = list
		for _, item := range v.List {
			in, fault := hclNode(item)
			if fault != nil {
				return n, fault
			}
			n.items = append(n.items, in)
		}
		return n, nil
	case *ast.LiteralType:
		return hclLiteral(v.Token)
	}
	return n, &Fault{n.line, "this value is of no known kind", "write a string, a number, a boolean, a list or a block"}
}

func hclLiteral(t token.Token) (node, *Fault) {
	n := node{line: t.Pos.Line, text: t.Text}
	switch t.Type {
	case token.NUMBER, token.FLOAT:
		n.kind = number
		return n, nil
	case token.BOOL:
		n.kind = boolean
		return n, nil
	}
	text, fault := hclWord(t)
	n.text, n.spans = text, t.Type == token.HEREDOC
	return n, fault
}

func hclWord(t token.Token) (string, *Fault) {
	switch t.Type {
	case token.IDENT:
		return t.Text, nil
	case token.STRING:
		s, err := hclstrconv.Unquote(t.Text)
		if err == nil {
			return s, nil
		}
	case token.HEREDOC:
		return heredoc(t)
	}
	return "", &Fault{max(1, t.Pos.Line), "this string is not valid", `write it between double quotes, with \" for a quote within`}
}

// heredoc relies on the token's own unwrapping, which panics on a torn one.
func heredoc(t token.Token) (text string, fault *Fault) {
	defer func() {
		if recover() != nil {
			fault = &Fault{max(1, t.Pos.Line), "this multi-line string is not valid", "write it between double quotes"}
		}
	}()
	return strings.TrimSuffix(fmt.Sprint(t.Value()), "\n"), nil
}
