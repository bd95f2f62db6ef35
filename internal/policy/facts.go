package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // every node knows the same time zones, whatever its machine has

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Facts are what conditions may weigh, beyond the rest of the Request. What is
// zero is not known, and a condition that needs it fails, which denies; but a
// token without metadata, entity or policies has none. They are those of one
// request, for all that is decided about it, and not for use by many goroutines at
// once.
type Facts struct {
	Source      netip.Addr        // where the request came from
	AuthMethod  string            // type of the method that issued the token, such as "userpass"
	AuthMount   string            // where that method is mounted, such as "auth/userpass/"
	AuthTime    time.Time         // when the token was issued, or the first of those that made it
	TokenType   string            // "service" or "batch"
	DisplayName string            // of the token
	EntityID    string            // of the token; may be empty
	Metadata    map[string]string // of the token
	Policies    []string          // of the token
	Namespace   string            // path of the request's namespace, with a trailing slash; empty for the root
	Headers     map[string]string // by name in small letters; nil is not known

	left steps // for what decisions with these facts may take yet
}

// steps bound what the conditions of one request take together, however many of
// them could decide and however many names it lists. They are counted as CEL counts.
type steps struct {
	begun bool
	n     int64
}

// What the first decision about a request may take, and each further one adds.
const (
	firstSteps   = 100_000
	furtherSteps = 500
)

// Anew are the same facts for another request: no decision has been taken with
// them. Facts that are not known stay so.
func (f *Facts) Anew() *Facts {
	if f == nil {
		return nil
	}
	out := *f
	out.left = steps{}
	return &out
}

// decide makes room for a decision.
func (s *steps) decide() {
	if !s.begun {
		s.begun, s.n = true, firstSteps
		return
	}
	s.n += furtherSteps
}

// variable is a name that conditions know.
type variable struct {
	name  string
	kind  *cel.Type
	value func(*Request) (any, bool) // false where it is not known
}

// variables is the whole vocabulary of conditions.
var variables = []variable{
	{"now", cel.TimestampType, func(r *Request) (any, bool) { return r.Now.UTC(), !r.Now.IsZero() }},
	{"source", cel.StringType, func(r *Request) (any, bool) {
		return r.Facts.Source.Unmap().WithZone("").String(), r.Facts.Source.IsValid()
	}},
	{"request.namespace", cel.StringType, func(r *Request) (any, bool) { return r.Facts.Namespace, true }},
	{"auth.method", cel.StringType, func(r *Request) (any, bool) { return r.Facts.AuthMethod, r.Facts.AuthMethod != "" }},
	{"auth.mount", cel.StringType, func(r *Request) (any, bool) { return r.Facts.AuthMount, r.Facts.AuthMount != "" }},
	{"auth.age", cel.DurationType, func(r *Request) (any, bool) {
		return r.Now.Sub(r.Facts.AuthTime), !r.Now.IsZero() && !r.Facts.AuthTime.IsZero()
	}},
	{"token.type", cel.StringType, func(r *Request) (any, bool) { return r.Facts.TokenType, r.Facts.TokenType != "" }},
	{"token.display_name", cel.StringType, func(r *Request) (any, bool) { return r.Facts.DisplayName, r.Facts.TokenType != "" }},
	{"token.entity_id", cel.StringType, func(r *Request) (any, bool) { return r.Facts.EntityID, r.Facts.TokenType != "" }},
	{"token.metadata", cel.MapType(cel.StringType, cel.StringType), func(r *Request) (any, bool) { return orEmpty(r.Facts.Metadata), r.Facts.TokenType != "" }},
	{"token.policies", cel.ListType(cel.StringType), func(r *Request) (any, bool) { return r.Facts.Policies, r.Facts.TokenType != "" }},
	{"request.operation", cel.StringType, func(r *Request) (any, bool) { return r.Op.String(), true }},
	{"request.path", cel.StringType, func(r *Request) (any, bool) { return r.Path, true }},
	{"request.segments", cel.ListType(cel.StringType), func(r *Request) (any, bool) {
		return strings.Split(strings.TrimSuffix(r.Path, "/"), "/"), true
	}},
	{"request.wrap_ttl", cel.DurationType, func(r *Request) (any, bool) { return r.WrapTTL, true }},
	{"request.headers", cel.MapType(cel.StringType, cel.StringType), func(r *Request) (any, bool) { return r.Facts.Headers, r.Facts.Headers != nil }},
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// conditionNames are the variables and what can be called on them.
func conditionNames() []string {
	names := make([]string, 0, len(variables))
	for _, v := range variables {
		names = append(names, v.name)
	}
	return names
}

// known shows a request to conditions.
type known struct{ request *Request }

// ResolveName gives the value of a variable, if it is known.
func (k known) ResolveName(name string) (any, bool) {
	i := slices.IndexFunc(variables, func(v variable) bool { return v.name == name })
	if i < 0 {
		return nil, false
	}
	return variables[i].value(k.request)
}

// Parent is none.
func (known) Parent() cel.Activation { return nil }

// clockParts are the functions on times, each with a time zone that must be
// named: without one, CEL would take UTC, which is seldom what office hours mean.
var clockParts = []struct {
	name string
	part func(time.Time) int
}{
	{"getFullYear", time.Time.Year},
	{"getMonth", func(t time.Time) int { return int(t.Month()) - 1 }},
	{"getDate", time.Time.Day},
	{"getDayOfMonth", func(t time.Time) int { return t.Day() - 1 }},
	{"getDayOfWeek", func(t time.Time) int { return int(t.Weekday()) }},
	{"getDayOfYear", func(t time.Time) int { return t.YearDay() - 1 }},
	{"getHours", time.Time.Hour},
	{"getMinutes", time.Time.Minute},
	{"getSeconds", time.Time.Second},
}

// replaced are the functions of CEL's library that conditions have otherwise or
// not at all.
func replaced() []*env.Function {
	out := []*env.Function{env.NewFunction("getMilliseconds")}
	for _, p := range clockParts {
		out = append(out, env.NewFunction(p.name))
	}
	return out
}

func conditionFunctions() []cel.EnvOption {
	zones := &zones{}
	var out []cel.EnvOption
	for _, p := range clockParts {
		out = append(out, cel.Function(p.name, cel.MemberOverload("timestamp_"+p.name, []*cel.Type{cel.TimestampType, cel.StringType}, cel.IntType,
			cel.BinaryBinding(func(at, zone ref.Val) ref.Val {
				place, err := zones.load(string(zone.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				return types.Int(p.part(at.(types.Timestamp).In(place)))
			}))))
	}
	return append(out, cel.Function("within",
		cel.MemberOverload("string_within_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, cel.BinaryBinding(within)),
		cel.MemberOverload("string_within_list", []*cel.Type{cel.StringType, cel.ListType(cel.StringType)}, cel.BoolType, cel.BinaryBinding(withinAny))))
}

// zones remembers the time zones that conditions name; there are only so many.
type zones struct{ loaded sync.Map }

func (z *zones) load(name string) (*time.Location, error) {
	if place, ok := z.loaded.Load(name); ok {
		return place.(*time.Location), nil
	}
	place, err := loadZone(name)
	if err == nil {
		z.loaded.Store(name, place)
	}
	return place, err
}

// loadZone refuses what depends on the machine.
func loadZone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("%s is not a time zone", shown(name))
	}
	return time.LoadLocation(name)
}

func within(addr, network ref.Val) ref.Val {
	ip, err := netip.ParseAddr(string(addr.(types.String)))
	if err != nil {
		return types.NewErr("the address is not known")
	}
	in, err := netip.ParsePrefix(string(network.(types.String)))
	if err != nil {
		return types.NewErr("a network is not valid")
	}
	return types.Bool(in.Contains(ip.Unmap().WithZone("")))
}

func withinAny(addr, networks ref.Val) ref.Val {
	for it := networks.(traits.Lister).Iterator(); it.HasNext() == types.True; {
		network, ok := it.Next().(types.String)
		if !ok {
			return types.NewErr("a network is not valid")
		}
		if met := within(addr, network); met != types.False {
			return met
		}
	}
	return types.False
}

// literalChecks gives what the first argument of a function must meet, or nil.
func literalChecks(function string) func(text string, literal bool) (problem, remedy string) {
	if function == "within" {
		return checkNetwork
	}
	for _, p := range clockParts {
		if p.name == function {
			return checkZone
		}
	}
	return nil
}

func checkZone(text string, literal bool) (problem, remedy string) {
	if !literal {
		return "a time zone is not a text between quotes", "write it out, as in now.getHours('Europe/Berlin')"
	}
	if _, err := loadZone(text); err != nil {
		return fmt.Sprintf("there is no time zone %s", shown(text)), "name one of the IANA time zones, such as 'UTC' or 'America/New_York'"
	}
	return "", ""
}

func checkNetwork(text string, literal bool) (problem, remedy string) {
	if !literal {
		return "a network is not a text between quotes", "write it out, as in source.within('10.0.0.0/8')"
	}
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return fmt.Sprintf("%s is not a network", shown(text)), "write address and length, as in '10.0.0.0/8' or '2001:db8::/32'"
	case network != network.Masked():
		return fmt.Sprintf("%s has bits set behind its length", shown(text)), fmt.Sprintf("write '%s'", network.Masked())
	case network.Addr().Is4In6():
		return fmt.Sprintf("%s is an IPv4 network written as IPv6", shown(text)), "write it as IPv4: addresses are compared so"
	}
	return "", ""
}
