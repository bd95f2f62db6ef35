package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Params gives the top-level parameters of a request, as its handler will
// receive them. Only rules that have conditions on parameters read them.
type Params interface {
	// All yields each parameter. Values are strings, booleans, numbers of any
	// kind, json.Number, nil, []string, []any, or anything else, which matches
	// no listed value.
	All(yield func(name string, value any) bool)
	// OtherNames are the further names under which the handler knows the
	// parameter of that name; a rule about any of them is about it.
	OtherNames(name string) []string
	// OtherValues are the values that mean to the handler what the request has for
	// the parameter of that name; a rule about any of them is about it.
	OtherValues(name string) []string
}

// ParamMap is the simplest Params: each parameter has one name.
type ParamMap map[string]any

// All yields each parameter of the map.
func (m ParamMap) All(yield func(name string, value any) bool) {
	for name, value := range m {
		if !yield(name, value) {
			return
		}
	}
}

// OtherNames are none.
func (m ParamMap) OtherNames(string) []string { return nil }

// OtherValues are none.
func (m ParamMap) OtherValues(string) []string { return nil }

// params are what the request has; the loops over them hold on to no request, so
// that Decide does not allocate one.
func (r *Request) params() Params {
	if r.Params == nil {
		return ParamMap(nil)
	}
	return r.Params
}

// literal is one value listed under a parameter in a policy.
type literal struct {
	text   string // the value; of a list, its parts quoted and joined
	folded string // text, loosely folded
	list   bool   // a list as a whole
}

func newLiteral(text string, list bool) literal {
	return literal{text: text, folded: foldLoose(text), list: list}
}

// check decides whether the parameters of req meet the limits.
func (l *limits) check(req *Request) (Reason, string) {
	for _, name := range l.required {
		if !hasParam(req, name) {
			return ParameterMissing, name
		}
	}
	if len(l.denied) == 0 && len(l.allowed) == 0 {
		return Granted, ""
	}
	params := req.params()
	for name, value := range params.All {
		if r := l.judge(name, params.OtherNames(name), given{value, params.OtherValues(name)}); r != Granted {
			return r, name
		}
	}
	return Granted, ""
}

// given is what a request has for a parameter, and what means the same.
type given struct {
	value any
	same  []string
}

// among says whether any spelling of the value is.
func (g given) among(listed []literal, among func(any, []literal) bool) bool {
	if among(g.value, listed) {
		return true
	}
	for _, v := range g.same {
		if among(v, listed) {
			return true
		}
	}
	return false
}

// judge decides about one parameter by what is listed under any of its names.
func (l *limits) judge(name string, others []string, value given) Reason {
	if _, all := l.denied["*"]; all || l.denies(name, value) {
		return ParameterDenied
	}
	listed, allowed := l.allows(name, value)
	for _, other := range others {
		if l.denies(other, value) {
			return ParameterDenied
		}
		alsoListed, alsoAllowed := l.allows(other, value)
		listed, allowed = listed || alsoListed, allowed && alsoAllowed
	}
	if _, rest := l.allowed["*"]; !allowed || !listed && !rest && len(l.allowed) > 0 {
		return ParameterNotAllowed
	}
	return Granted
}

func (l *limits) denies(name string, value given) bool {
	values, listed := l.denied[fold(name)]
	return listed && value.among(values, deniedAmong)
}

// allows says whether the name is listed, and that what is listed does not keep
// the value out.
func (l *limits) allows(name string, value given) (listed, allowed bool) {
	values, listed := l.allowed[name]
	return listed, !listed || value.among(values, allowedAmong)
}

// hasParam says whether a handler will find the parameter given: under its
// exact name or another that the handler knows it by, and with a value that
// handlers do not take as none.
func hasParam(req *Request, required string) bool {
	params := req.params()
	for name, value := range params.All {
		if !absent(value) && (name == required || slices.Contains(params.OtherNames(name), required)) {
			return true
		}
	}
	return false
}

// absent says whether a value is as good as none: null, an empty text, list or
// object, or zero, which is the default of every number and duration.
func absent(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return foldLoose(v) == "" || isZero(v)
	case json.Number:
		return isZero(string(v))
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// isZero says whether a text is the number or duration zero.
func isZero(text string) bool {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n == 0
	}
	d, err := time.ParseDuration(text)
	return err == nil && d == 0
}

// allowedAmong says whether value is one of those listed; no list allows any.
func allowedAmong(value any, listed []literal) bool {
	if len(listed) == 0 {
		return true
	}
	text, list, ok := givenText(value)
	if !ok {
		return false
	}
	for i := range listed {
		if listed[i].list == list && listed[i].allows(text) {
			return true
		}
	}
	return false
}

func (l *literal) allows(text string) bool {
	if l.list || !globMatch(l.text, text) {
		return l.text == text
	}
	if strings.Contains(l.text, ",") || l.text == text {
		return true
	}
	for part := range strings.SplitSeq(text, ",") {
		if !globMatch(l.text, strings.TrimSpace(part)) {
			return false
		}
	}
	return true
}

// deniedAmong says whether value, or anything within it, is one of those
// listed, however it is spelled; no list denies any value.
func deniedAmong(value any, listed []literal) bool {
	if len(listed) == 0 {
		return true
	}
	text, list, ok := valueText(value)
	if ok && deniedText(text, list, listed) {
		return true
	}
	switch parts := value.(type) {
	case []any:
		for _, part := range parts {
			if deniedAmong(part, listed) {
				return true
			}
		}
	case []string:
		for _, part := range parts {
			if deniedAmong(part, listed) {
				return true
			}
		}
	}
	return false
}

func deniedText(text string, list bool, listed []literal) bool {
	text = foldLoose(text)
	for i := range listed {
		if listed[i].list == list && listed[i].denies(text) {
			return true
		}
	}
	return false
}

// denies takes a loosely folded text.
func (l *literal) denies(text string) bool {
	if l.folded == text {
		return true
	}
	if l.list {
		return false
	}
	if globMatch(l.folded, text) || sameMeaning(l.folded, text) {
		return true
	}
	if !strings.Contains(text, ",") {
		return false
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if globMatch(l.folded, part) || sameMeaning(l.folded, part) {
			return true
		}
	}
	return false
}

// globMatch compares text with a listed value, which may begin or end in "*".
// A lone "*" is an ordinary value.
func globMatch(listed, text string) bool {
	if len(listed) < 2 {
		return listed == text
	}
	tail, anyStart := strings.CutPrefix(listed, "*")
	body, anyEnd := strings.CutSuffix(tail, "*")
	switch {
	case anyStart && anyEnd:
		return strings.Contains(text, body)
	case anyStart:
		return strings.HasSuffix(text, tail)
	case anyEnd:
		return strings.HasPrefix(text, body)
	default:
		return listed == text
	}
}

// valueText gives the text by which a listed or denied value is compared:
// equal numbers equally written, truth values as words, a list with its parts
// quoted.
func valueText(value any) (text string, list, ok bool) { return textOf(value, numberText) }

// givenText is valueText with JSON numbers as the request spells them, which is
// what a handler that takes text receives.
func givenText(value any) (text string, list, ok bool) {
	return textOf(value, func(s string) string { return s })
}

func textOf(value any, number func(string) string) (text string, list, ok bool) {
	switch v := value.(type) {
	case string:
		return v, false, true
	case bool:
		return strconv.FormatBool(v), false, true
	case json.Number:
		return number(v.String()), false, true
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return numberText(fmt.Sprint(v)), false, true
	case []string:
		return listText(len(v), func(i int) any { return v[i] }, number)
	case []any:
		return listText(len(v), func(i int) any { return v[i] }, number)
	}
	return "", false, false
}

func listText(n int, at func(int) any, number func(string) string) (text string, list, ok bool) {
	parts := make([]string, n)
	for i := range parts {
		part, _, ok := textOf(at(i), number)
		if !ok {
			return "", true, false
		}
		parts[i] = strconv.Quote(part)
	}
	return "[" + strings.Join(parts, ",") + "]", true, true
}

// numberText writes equal numbers equally: 5, 5.0 and 0x5 are 5. A whole number
// too large to compute with is left as it is written.
func numberText(s string) string {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return strconv.FormatInt(n, 10)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || s == strings.TrimLeft(s, "-0") && strings.Trim(s, "0123456789") == "" {
		return s
	}
	if f == float64(int64(f)) && -1<<53 < f && f < 1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
