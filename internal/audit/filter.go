package audit

import (
	"fmt"

	"cel.dev/cel-go/cel"

	"github.com/strongroom/strongroom/internal/api"
)

// Bounds of a filter: of its text, in bytes, and of what judging one entry may
// cost, in the units of cel-go (about one for each comparison, and one for each
// ten bytes of text that is searched).
const (
	maxFilter  = 2 << 10
	filterCost = 10_000
)

// filter is a CEL expression that says which entries a sink takes. It is safe
// for concurrent use.
type filter struct{ program cel.Program }

// factNames are what a filter may judge by, all of them texts.
func factNames() []string {
	return []string{"type", "mount_type", "mount_point", "path", "operation", "namespace_path", "error"}
}

const filterHint = `an example is mount_type == "kv" && !path.startsWith("secret/data/noise/") || error != ""; the names are ` +
	"mount_type, mount_point, path, operation, namespace_path (such as team/; empty for the root namespace), error (empty: none) and type (request or response)"

// compileFilter reads an expression; its errors do not repeat it.
func compileFilter(text string) (*filter, error) {
	if len(text) > maxFilter {
		return nil, invalid("filter", fmt.Sprintf("is longer than %d bytes", maxFilter), filterHint)
	}
	var options []cel.EnvOption
	for _, name := range factNames() {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues != nil && issues.Err() != nil {
		return nil, badFilter(issues)
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, invalid("filter", "must be true or false, and is of type "+ast.OutputType().String(), filterHint)
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(filterCost))
	if err != nil {
		return nil, invalid("filter", "is not an expression that can be evaluated", filterHint)
	}
	return &filter{program}, nil
}

// badFilter names the place of the first mistake. What stands there is not
// repeated: it may be a value that was meant for another place.
func badFilter(issues *cel.Issues) *api.Error {
	at := ""
	if all := issues.Errors(); len(all) > 0 {
		at = fmt.Sprintf(" at line %d, column %d", all[0].Location.Line(), all[0].Location.Column()+1)
	}
	return invalid("filter", "is not a CEL expression over the names of an entry"+at, filterHint)
}

// takes reports whether an entry is for the sink. One that cannot be judged is.
func (f *filter) takes(facts map[string]any) bool {
	v, _, err := f.program.Eval(facts)
	if err != nil {
		return true
	}
	taken, ok := v.Value().(bool)
	return taken || !ok
}

// factsOf is what filters judge an entry by; failure is why the request failed.
func factsOf(r *Request, kind string, failure error) map[string]any {
	text := ""
	if failure != nil {
		text = failureText(failure)
	}
	return map[string]any{
		"type": kind, "mount_type": r.Mount.Type, "mount_point": r.Mount.Path, "path": r.Path,
		"operation": r.Operation, "namespace_path": r.Namespace.Path, "error": text,
	}
}
