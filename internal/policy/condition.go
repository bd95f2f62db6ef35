package policy

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
)

// Bounds of a condition.
const (
	maxConditionBytes = 4 << 10 // of its text
	maxConditions     = 256     // of one policy
	maxCost           = 20_000  // steps of one evaluation, as CEL counts them
)

// condition is the compiled condition of a rule. It is immutable and safe for
// use by many goroutines at once.
type condition struct {
	text    string
	program cel.Program
}

// truth is what evaluating a condition has come to.
type truth uint8

const (
	unmet  truth = iota // it is false
	holds               // it is true
	broken              // it cannot be told
)

// eval weighs the condition, and tells how many steps that took. What it needs and
// is not known, or costs too much, leaves it broken; so does a panic of the evaluator.
func (c *condition) eval(k known) (result truth, taken int64, why error) {
	defer func() {
		if recover() != nil {
			result, taken, why = broken, maxCost, errors.New("the evaluator gave up")
		}
	}()
	val, details, err := c.program.Eval(k)
	taken = maxCost
	if n := details.ActualCost(); n != nil {
		taken = int64(min(*n, maxCost))
	}
	if err != nil {
		return broken, taken, err
	}
	switch met, ok := val.Value().(bool); {
	case !ok:
		return broken, taken, errors.New("the result is neither true nor false")
	case met:
		return holds, taken, nil
	}
	return unmet, taken, nil
}

// language is the environment that all conditions are compiled in. It is built
// when the first is met, since most servers have none.
var language = sync.OnceValues(newLanguage)

func newLanguage() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeFunctions: replaced()})),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxConditionBytes),
		cel.ParserRecursionLimit(64),
		cel.ExpressionNodeLimit(2000),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(), cel.ValidateComprehensionNestingLimit(1), cel.ValidateRegexProgramSizeLimit(1000)),
	}
	for _, v := range variables {
		options = append(options, cel.Variable(v.name, v.kind))
	}
	return cel.NewCustomEnv(append(options, conditionFunctions()...)...)
}

// compileCondition checks a condition and makes it ready. The fault's line
// counts from the first line of the text, which is 1.
func compileCondition(text string) (*condition, *Fault) {
	if strings.TrimSpace(text) == "" {
		return nil, &Fault{1, "the condition is empty", "write what must hold, or remove it"}
	}
	if len(text) > maxConditionBytes {
		return nil, &Fault{1, fmt.Sprintf("the condition is longer than %d bytes", maxConditionBytes), "write several rules"}
	}
	lang, err := language()
	if err != nil {
		return nil, &Fault{1, "conditions cannot be read: " + err.Error(), "this is a mistake of the program: report it"}
	}
	ast, fault := checkCondition(lang, text)
	if fault != nil {
		return nil, fault
	}
	program, err := lang.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, &Fault{1, "the condition cannot be made ready: " + firstLine(err.Error()), conditionRemedy}
	}
	return &condition{text: text, program: program}, nil
}

// checkCondition turns a panic of the parser into a fault.
func checkCondition(lang *cel.Env, text string) (ast *cel.Ast, fault *Fault) {
	defer func() {
		if recover() != nil {
			ast, fault = nil, &Fault{1, "the condition cannot be parsed", conditionRemedy}
		}
	}()
	ast, issues := lang.Compile(text)
	if errs := issues.Errors(); len(errs) > 0 {
		at := errs[0]
		return nil, &Fault{max(1, at.Location.Line()), fmt.Sprintf("the condition is not valid at column %d: %s", at.Location.Column()+1, firstLine(at.Message)), remedyFor(at.Message)}
	}
	if kind := ast.OutputType(); !kind.IsExactType(cel.BoolType) {
		return nil, &Fault{1, fmt.Sprintf("the condition gives %s, not true or false", kind), "compare it with something"}
	}
	if fault := checkArguments(ast); fault != nil {
		return nil, fault
	}
	cost, err := lang.EstimateCost(ast, sizes{})
	if err != nil || cost.Max > maxCost {
		return nil, &Fault{1, "evaluating the condition could take too long", "make it simpler: fewer loops over lists, shorter texts"}
	}
	return ast, nil
}

const conditionRemedy = "write a CEL expression, for example now.getHours('Europe/Berlin') < 18 && source.within('10.0.0.0/8')"

// remedyFor words what to do about a message of the compiler's. It only helps:
// nothing is decided by it.
func remedyFor(message string) string {
	switch {
	case strings.Contains(message, "undeclared reference"):
		return "conditions know " + strings.Join(conditionNames(), ", ")
	case strings.Contains(message, "applied to 'google.protobuf.Timestamp.()'"), strings.Contains(message, "applied to 'timestamp.()'"):
		return "name the time zone, as in now.getHours('Europe/Berlin')"
	case strings.Contains(message, "no matching overload"):
		return "compare values of one type: texts between quotes, numbers without, spans as duration('1h')"
	}
	return conditionRemedy
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	if len(line) > 200 {
		line = line[:200] + "…"
	}
	return line
}

// checkArguments wants time zones and networks spelled out, so that a mistake in
// one is found when the policy is written.
func checkArguments(ast *cel.Ast) (fault *Fault) {
	visit := celast.NewExprVisitor(func(e celast.Expr) {
		if fault != nil || e.Kind() != celast.CallKind {
			return
		}
		call := e.AsCall()
		check := literalChecks(call.FunctionName())
		if check == nil || len(call.Args()) == 0 {
			return
		}
		line := ast.NativeRep().SourceInfo().GetStartLocation(e.ID()).Line()
		for _, arg := range literals(call.Args()[0]) {
			text, ok := "", false
			if arg.Kind() == celast.LiteralKind {
				text, ok = arg.AsLiteral().Value().(string)
			}
			if problem, remedy := check(text, ok); problem != "" && fault == nil {
				fault = &Fault{max(1, line), problem, remedy}
			}
		}
	})
	celast.PostOrderVisit(ast.NativeRep().Expr(), visit)
	return fault
}

// literals are the elements of a list that is written out, or the expression
// itself.
func literals(e celast.Expr) []celast.Expr {
	if e.Kind() == celast.ListKind {
		return e.AsList().Elements()
	}
	return []celast.Expr{e}
}

// sizes bounds what CEL cannot know of the variables.
type sizes struct{}

// EstimateSize bounds the texts, lists and maps of a request.
func (sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	most := uint64(256)
	path := node.Path()
	if len(path) == 0 {
		return nil
	}
	switch last := path[len(path)-1]; {
	case path[0] == "request.path":
		most = MaxPathBytes
	case last == "request.segments" || last == "token.policies" || last == "token.metadata" || last == "request.headers":
		most = 64
	}
	return &checker.SizeEstimate{Min: 0, Max: most}
}

// EstimateCallCost prices the functions that CEL does not have.
func (sizes) EstimateCallCost(function, _ string, _ *checker.AstNode, _ []checker.AstNode) *checker.CallEstimate {
	if literalChecks(function) == nil || function == operators.Index {
		return nil
	}
	return &checker.CallEstimate{CostEstimate: checker.CostEstimate{Min: 5, Max: 20}}
}
