package jwt

import (
	"regexp/syntax"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/strongroom/strongroom/internal/jws"
)

// maxMade bounds what a variable of a program may hold, in bytes and elements: as much as
// a token says.
const maxMade = jws.MaxToken

// maxLiteral bounds the text that a program puts between others again and again.
const maxLiteral = 64

// maxPattern bounds a pattern, in steps for each byte that it is sought in.
const maxPattern = 256

// scales counts as steps of a program what it makes, too. CEL counts the sizes of texts only
// where it knows their types beforehand, which it does not of claims.
type scales struct{}

// CallCost is the steps of one call.
func (scales) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	cost := uint64(1)
	switch function {
	case operators.Conditional, operators.Index, operators.LogicalAnd, operators.LogicalOr: // make nothing
		return &cost
	case overloadMatches, overloadContains:
		product := uint64(1)
		for _, a := range args {
			product *= 1 + size(a)/10
		}
		cost += product
	default:
		for _, a := range args {
			cost += size(a) / 10
		}
		cost += size(result)
	}
	return &cost
}

// Names of functions.
const (
	overloadMatches  = "matches"
	overloadContains = "contains"
)

// size is a value's bytes, or elements.
func size(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	case traits.Lister:
		return count(v.Size())
	case traits.Mapper:
		return count(v.Size())
	}
	return 0
}

func count(v ref.Val) uint64 {
	if n, ok := v.(types.Int); ok && n > 0 {
		return uint64(n)
	}
	return 0
}

// fits takes from room what a value is in all, and reports whether there was so much.
func fits(v ref.Val, room *int) bool {
	n := size(v)
	if n > uint64(*room) {
		return false
	}
	*room -= int(n) + 1
	if list, ok := v.(traits.Lister); ok {
		for it := list.Iterator(); it.HasNext() == types.True; {
			if !fits(it.Next(), room) {
				return false
			}
		}
	}
	return *room >= 0
}

// judge refuses an expression that has a function make or do more than can be told before: one
// that puts a text which is no short literal between others, or looks for a pattern that is no
// literal, or a large one.
func judge(checked *cel.Ast) error {
	for _, rule := range []struct {
		function string
		at       int // of the argument
		takes    func(text string) bool
	}{{"replace", 1, short}, {"join", 0, short}, {overloadMatches, 0, simple}} {
		for _, call := range ast.MatchDescendants(ast.NavigateAST(checked.NativeRep()), ast.FunctionMatcher(rule.function)) {
			args, at := call.AsCall().Args(), rule.at
			if !call.AsCall().IsMemberFunction() {
				at++
			}
			if len(args) > at && !literal(args[at], rule.takes) {
				return wrong("calls %s with a text that is no literal, or too large a one", rule.function)
			}
		}
	}
	return nil
}

func literal(e ast.Expr, takes func(string) bool) bool {
	if e.Kind() != ast.LiteralKind {
		return false
	}
	text, ok := e.AsLiteral().Value().(string)
	return ok && takes(text)
}

func short(text string) bool { return len(text) <= maxLiteral }

// simple reports whether a pattern is one that can be sought in a whole token. How long it
// is does not tell: x{1000} is a thousand steps for each byte.
func simple(pattern string) bool {
	p, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return false
	}
	program, err := syntax.Compile(p.Simplify())
	return err == nil && len(program.Inst) <= maxPattern
}
