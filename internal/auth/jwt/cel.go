package jwt

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/jws"
)

// Bounds of a program.
const (
	maxExpression = 4 << 10 // of one expression, in bytes
	maxVariables  = 20
	maxCost       = 50_000 // steps of one expression, as CEL counts them
)

// program decides by a token's claims: its variables, in their order, and then the expression, which gives
// false or a text for "no", and pb.Auth{...} for "yes".
type program struct {
	Variables  []variable `json:"variables,omitempty"`
	Expression string     `json:"expression"`
}

type variable struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// parseProgram reads a program and checks that it could run.
func parseProgram(raw []byte) (program, error) {
	var p program
	if _, err := jws.ParseClaims(raw); err != nil || json.Unmarshal(raw, &p) != nil {
		return p, api.Errorf(api.Invalid, "cel_program: must be an object of variables and expression")
	}
	switch {
	case p.Expression == "":
		return p, api.Errorf(api.Invalid, "cel_program.expression: cannot be empty")
	case len(p.Variables) > maxVariables:
		return p, api.Errorf(api.Invalid, "cel_program.variables: more than %d", maxVariables)
	}
	_, err := p.compile()
	return p, err
}

// newLanguage is the environment that a program with such variables is compiled in. Building it takes a
// fifth of a millisecond: nothing is kept between requests.
func newLanguage(variables ...cel.EnvOption) (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	a, b := cel.TypeParamType("A"), cel.TypeParamType("B")
	return cel.NewCustomEnv(append([]cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeFunctions: []*env.Function{env.NewFunction(operators.Conditional)}})),
		// Either branch may be of any type: a program says pb.Auth{...} in one and false in the other.
		cel.Function(operators.Conditional, cel.Overload(overloads.Conditional, []*cel.Type{cel.BoolType, a, b}, cel.DynType, cel.OverloadIsNonStrict()),
			cel.SingletonFunctionBinding(func(...ref.Val) ref.Val { return types.NoSuchOverloadErr() })),
		cel.CustomTypeProvider(&grants{Registry: registry}),
		cel.CustomTypeAdapter(registry),
		ext.Strings(), ext.Sets(), ext.Lists(),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(64),
		cel.ExpressionNodeLimit(2000),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("now", cel.TimestampType),
		cel.Variable("operation", cel.StringType),
	}, variables...)...)
}

// compiled is a program that is ready to run.
type compiled struct {
	names []string
	steps []cel.Program // one for each name, and the last
}

// compile checks a program. Its faults name the place and do not repeat what stands there.
func (p program) compile() (*compiled, error) {
	lang, names, err := p.language()
	if err != nil {
		return nil, err
	}
	out := &compiled{names: names}
	for _, v := range append(slices.Clone(p.Variables), variable{Expression: p.Expression}) {
		step, err := compileStep(lang, v.Expression)
		if err != nil {
			where := "cel_program.variables"
			if v.Name == "" {
				where = "cel_program.expression"
			}
			return nil, api.Errorf(api.Invalid, "%s: %v", where, err)
		}
		out.steps = append(out.steps, step)
	}
	return out, nil
}

// language is the language with the program's variables. One that is read before it is
// reckoned is not known then, and the program cannot tell.
func (p program) language() (*cel.Env, []string, error) {
	var names []string
	var options []cel.EnvOption
	for _, v := range p.Variables {
		if !isIdentifier(v.Name) || slices.Contains(names, v.Name) {
			return nil, nil, api.Errorf(api.Invalid, "cel_program.variables: a name is taken, or none")
		}
		names, options = append(names, v.Name), append(options, cel.Variable(v.Name, cel.DynType))
	}
	lang, err := newLanguage(options...)
	return lang, names, err
}

func isIdentifier(s string) bool {
	return s != "" && len(s) <= 64 && !slices.Contains([]string{"claims", "now", "operation", "pb", "logical"}, s) &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == "" && (s[0] < '0' || s[0] > '9')
}

// compileStep turns a panic of the compiler into a fault.
func compileStep(lang *cel.Env, text string) (step cel.Program, err error) {
	defer func() {
		if recover() != nil {
			step, err = nil, wrong("cannot be parsed")
		}
	}()
	if strings.TrimSpace(text) == "" || len(text) > maxExpression {
		return nil, wrong("is empty, or longer than %d bytes", maxExpression)
	}
	ast, issues := lang.Compile(text)
	if faults := issues.Errors(); len(faults) > 0 {
		at := faults[0].Location
		return nil, wrong("is not a CEL expression over claims, now and operation, at line %d, column %d", at.Line(), at.Column()+1)
	}
	if err := judge(ast); err != nil {
		return nil, err
	}
	step, err = lang.Program(ast, cel.CostLimit(maxCost), cel.CostTracking(scales{}), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, wrong("cannot be made ready")
	}
	return step, nil
}

// run has the program decide. What it gives for "no" is an error.
func (p program) run(said jws.Claims, now time.Time) (g *given, err error) {
	defer func() {
		if recover() != nil {
			g, err = nil, wrong("the evaluator gave up")
		}
	}()
	ready, err := p.compile()
	if err != nil {
		return nil, wrong("the program cannot be compiled")
	}
	facts := map[string]any{"claims": plainNumbers(map[string]any(said)), "now": now, "operation": "update"}
	var result ref.Val
	for i, step := range ready.steps {
		if result, _, err = step.Eval(facts); err != nil {
			return nil, wrong("the program cannot tell")
		}
		if room := maxMade; i < len(ready.names) && !fits(result, &room) {
			return nil, wrong("the program makes too much")
		}
		if i < len(ready.names) {
			facts[ready.names[i]] = result
		}
	}
	if grant, ok := result.(*built); ok && grant.kind == kindAuth {
		return grant.given()
	}
	return nil, wrong("the program says no")
}

// plainNumbers makes numbers of claims what CEL reckons with: whole ones where they are, else
// fractions. One that is neither is left out.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plainNumbers(e)
		}
		return out
	case map[string]any:
		out := maps.Clone(v)
		for k, e := range v {
			out[k] = plainNumbers(e)
		}
		return out
	}
	return v
}
