package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The oracle decides as the documentation of the language reads, slowly: every
// path of every policy becomes a regular expression, all that match are sorted
// by the documented criteria, and the stanzas of the winner are read one by
// one. It shares no code with the package.

type oracleRule struct {
	policy   string
	path     string
	caps     []string
	allowed  map[string][]string
	denied   map[string][]string
	required []string
	min, max int // seconds
	page     int
	cond     string // one of oracleConditions; empty is none
	failed   bool   // the condition could not be told
}

type oracleRequest struct {
	path   string
	verb   string
	params map[string]any // strings and lists of strings
	wrap   int            // seconds
	source string         // empty is not known
	team   string         // of the token; empty is none
	hour   int
}

// oracleConditions knows the few conditions that are drawn: "yes", "no", or
// "broken" for a request.
var oracleConditions = map[string]func(oracleRequest) string{
	"true":                        func(oracleRequest) string { return "yes" },
	"false":                       func(oracleRequest) string { return "no" },
	"request.operation == 'read'": func(q oracleRequest) string { return yesIf(q.verb == "read") },
	"request.segments[0] != 'a'":  func(q oracleRequest) string { return yesIf(strings.Split(q.path, "/")[0] != "a") },
	"now.getHours('UTC') < 12":    func(q oracleRequest) string { return yesIf(q.hour < 12) },
	"source.within('10.0.0.0/8')": func(q oracleRequest) string {
		if q.source == "" {
			return "broken"
		}
		return yesIf(strings.HasPrefix(q.source, "10."))
	},
	"token.metadata['team'] == 'x'": func(q oracleRequest) string {
		if q.team == "" {
			return "broken"
		}
		return yesIf(q.team == "x")
	},
	"request.operation == 'list' || token.metadata['team'] == 'y'": func(q oracleRequest) string {
		switch {
		case q.verb == "list":
			return "yes"
		case q.team == "":
			return "broken"
		}
		return yesIf(q.team == "y")
	},
}

func yesIf(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// at is the oracle of the rules that exist for a request.
func (o *oracle) at(q oracleRequest) *oracle {
	out := &oracle{exprs: o.exprs}
	for _, r := range o.rules {
		if r.cond != "" {
			switch oracleConditions[r.cond](q) {
			case "no":
				continue
			case "broken":
				r.failed = true
			}
		}
		out.rules = append(out.rules, r)
	}
	return out
}

type oracle struct {
	rules []oracleRule
	exprs map[string]*regexp.Regexp
}

func (o *oracle) expr(path string) *regexp.Regexp {
	if e := o.exprs[path]; e != nil {
		return e
	}
	body, tail := path, "$"
	if strings.HasSuffix(path, "*") {
		body, tail = path[:len(path)-1], ""
	}
	segments := strings.Split(body, "/")
	for i, s := range segments {
		segments[i] = regexp.QuoteMeta(s)
		if s == "+" {
			segments[i] = "[^/]*"
		}
	}
	e := regexp.MustCompile("^" + strings.Join(segments, "/") + tail)
	o.exprs[path] = e
	return e
}

// wildcards gives where the first wildcard is (none: beyond everything), how
// many segments are "+", and whether the path ends in a glob.
func wildcards(path string) (first, pluses int, glob bool) {
	first = 1 << 30
	offset := 0
	glob = strings.HasSuffix(path, "*")
	body := strings.TrimSuffix(path, "*")
	for _, s := range strings.Split(body, "/") {
		if s == "+" {
			pluses++
			if offset < first {
				first = offset
			}
		}
		offset += len(s) + 1
	}
	if glob && len(body) < first {
		first = len(body)
	}
	return first, pluses, glob
}

// lower says whether p is of lower priority than q, criterion by criterion.
func lower(p, q string) bool {
	pf, pp, pg := wildcards(p)
	qf, qp, qg := wildcards(q)
	if pf != qf {
		return pf < qf
	}
	if pg != qg {
		return pg
	}
	if pp != qp {
		return pp > qp
	}
	if len(p) != len(q) {
		return len(p) < len(q)
	}
	return p < q
}

func isExact(path string) bool {
	first, _, _ := wildcards(path)
	return first == 1<<30
}

// best gives the highest of the paths that match the spelling.
func (o *oracle) best(spelling string, exact bool) string {
	var found []string
	for _, r := range o.rules {
		if isExact(r.path) == exact && o.expr(r.path).MatchString(spelling) {
			found = append(found, r.path)
		}
	}
	if len(found) == 0 {
		return ""
	}
	sort.Slice(found, func(i, j int) bool { return lower(found[i], found[j]) })
	return found[len(found)-1]
}

func (o *oracle) denies(path string) bool {
	for _, r := range o.rules {
		if r.path == path && slices.Contains(r.caps, "deny") {
			return true
		}
	}
	return false
}

func (o *oracle) fails(path string) bool {
	return slices.ContainsFunc(o.rules, func(r oracleRule) bool { return r.path == path && r.failed })
}

// choose gives the path whose stanzas decide, or "".
func (o *oracle) choose(path string, listing bool) string {
	spellings := []string{path}
	if listing {
		bare := strings.TrimSuffix(path, "/")
		spellings = []string{bare + "/", bare}
	}
	chosen := ""
	for _, exact := range []bool{true, false} {
		for _, s := range spellings {
			if chosen == "" {
				chosen = o.best(s, exact)
			}
		}
	}
	if strings.HasSuffix(path, "/") && !listing {
		spellings = append(spellings, strings.TrimSuffix(path, "/"))
	}
	for _, r := range o.rules {
		deny := strings.ToLower(r.path)
		if !o.denies(r.path) || chosen != "" && !lower(strings.ToLower(chosen), deny) {
			continue
		}
		for _, s := range spellings {
			if o.expr(deny).MatchString(strings.ToLower(s)) {
				return r.path
			}
		}
	}
	return chosen
}

// decide gives whether the request is allowed and its page limit.
func (o *oracle) decide(q oracleRequest) (allowed bool, page int) {
	listing := q.verb == "list" || q.verb == "scan"
	path := o.choose(q.path, listing)
	if path == "" || o.denies(path) || o.fails(path) {
		return false, 0
	}
	var stanzas []oracleRule
	granted := false
	for _, r := range o.rules {
		if r.path == path {
			stanzas = append(stanzas, r)
			granted = granted || slices.Contains(r.caps, q.verb)
		}
	}
	if !granted || !oracleWrap(stanzas, q.wrap) {
		return false, 0
	}
	if listing {
		return oracleList(stanzas, q)
	}
	return q.verb == "delete" || oracleParams(stanzas, q), 0
}

func oracleWrap(stanzas []oracleRule, wrap int) bool {
	var mins, maxs []int
	for _, s := range stanzas {
		if s.min > 0 {
			mins = append(mins, s.min)
		}
		if s.max > 0 {
			maxs = append(maxs, s.max)
		}
	}
	if len(mins) > 0 && wrap < slices.Min(mins) {
		return false
	}
	return len(maxs) == 0 || wrap > 0 && wrap <= slices.Min(maxs)
}

func oracleList(stanzas []oracleRule, q oracleRequest) (bool, int) {
	page, required := 0, false
	for _, s := range stanzas {
		if s.page > 0 && (page == 0 || s.page < page) {
			page = s.page
		}
		required = required || slices.Contains(s.required, "limit")
	}
	if page == 0 {
		return true, 0
	}
	for name, limit := range q.params {
		within := slices.Contains([]any{"", "max", "0", "1", "+1"}, limit) || limit == "2" && page == 2
		if strings.EqualFold(name, "limit") && !within {
			return false, page
		}
	}
	return !required || oracleGiven(q.params["limit"]), page
}

// oracleGiven knows the few values that are drawn.
func oracleGiven(v any) bool { return !slices.Contains([]any{nil, "", "0"}, v) }

func oracleParams(stanzas []oracleRule, q oracleRequest) bool {
	allowed, denied := map[string][]string{}, map[string][]string{}
	for _, s := range stanzas {
		for _, name := range s.required {
			if !oracleGiven(q.params[name]) {
				return false
			}
		}
		oracleJoin(allowed, s.allowed)
		oracleJoin(denied, s.denied)
	}
	for name, value := range q.params {
		if _, all := denied["*"]; all {
			return false
		}
		for listed, list := range denied {
			if strings.EqualFold(listed, name) && oracleDenied(list, value) {
				return false
			}
		}
		if len(allowed) == 0 {
			continue
		}
		list, named := allowed[name]
		if _, rest := allowed["*"]; !named && !rest {
			return false
		}
		if named && !oracleAllowed(list, value) {
			return false
		}
	}
	return true
}

func oracleJoin(into, more map[string][]string) {
	for name, list := range more {
		old, known := into[name]
		if len(list) == 0 || known && len(old) == 0 {
			into[name] = []string{}
		} else {
			into[name] = append(append([]string{}, old...), list...)
		}
	}
}

func oracleGlob(pattern, value string) bool {
	e := regexp.QuoteMeta(pattern)
	if len(pattern) > 1 {
		if strings.HasPrefix(pattern, "*") {
			e = ".*" + e[2:]
		}
		if strings.HasSuffix(pattern, "*") {
			e = e[:len(e)-2] + ".*"
		}
	}
	return regexp.MustCompile("^(?s:" + e + ")$").MatchString(value)
}

func oracleDenied(list []string, value any) bool {
	if len(list) == 0 {
		return true
	}
	var values []string
	switch v := value.(type) {
	case string:
		values = append(strings.Split(v, ","), v)
	case []any:
		for _, part := range v {
			values = append(append(values, strings.Split(part.(string), ",")...), part.(string))
		}
	}
	for _, pattern := range list {
		for _, v := range values {
			v = strings.ToLower(strings.TrimSpace(v))
			if oracleGlob(strings.ToLower(pattern), v) || oracleSame(pattern, v) {
				return true
			}
		}
	}
	return false
}

// oracleSame knows the drawn spellings of one value by heart.
func oracleSame(a, b string) bool {
	for _, spellings := range []string{
		"1000 1e3 01000 +1000 1000.0 16m40s", "3600 1h 60m", "1 +1 1s", "1 true t",
	} {
		if words := strings.Fields(spellings); slices.Contains(words, a) && slices.Contains(words, b) {
			return true
		}
	}
	return false
}

func oracleAllowed(list []string, value any) bool {
	v, scalar := value.(string)
	if len(list) == 0 || !scalar {
		return len(list) == 0
	}
	for _, pattern := range list {
		if pattern == v {
			return true
		}
		whole := oracleGlob(pattern, v)
		for _, part := range strings.Split(v, ",") {
			whole = whole && (strings.Contains(pattern, ",") || oracleGlob(pattern, strings.TrimSpace(part)))
		}
		if whole {
			return true
		}
	}
	return false
}

// source writes the rules of one policy as HCL.
func source(rules []oracleRule) string {
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "path %q {\n  capabilities = %s\n", r.path, hclWords(r.caps))
		writeParams(&b, "allowed_parameters", r.allowed)
		writeParams(&b, "denied_parameters", r.denied)
		if len(r.required) > 0 {
			fmt.Fprintf(&b, "  required_parameters = %s\n", hclWords(r.required))
		}
		if r.min > 0 {
			fmt.Fprintf(&b, "  min_wrapping_ttl = \"%ds\"\n", r.min)
		}
		if r.max > 0 {
			fmt.Fprintf(&b, "  max_wrapping_ttl = %d\n", r.max)
		}
		if r.page > 0 {
			fmt.Fprintf(&b, "  pagination_limit = %d\n", r.page)
		}
		if r.cond != "" {
			fmt.Fprintf(&b, "  condition = %q\n", r.cond)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func writeParams(b *strings.Builder, key string, params map[string][]string) {
	if params == nil {
		return
	}
	fmt.Fprintf(b, "  %s = {\n", key)
	for name, values := range params {
		fmt.Fprintf(b, "    %q = %s\n", name, hclWords(values))
	}
	b.WriteString("  }\n")
}

func hclWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

var oracleVerbs = map[string]Capabilities{
	"create": Create, "read": Read, "update": Update, "patch": Patch, "delete": Delete, "list": List, "scan": Scan,
}

func drawPattern(t *rapid.T) string {
	segment := rapid.SampledFrom([]string{"a", "b", "A", "ab", "a+", "+", "+", "a*b"})
	path := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "segments"), "/")
	path += rapid.SampledFrom([]string{"", "", "/", "*", "/*", "/a*"}).Draw(t, "end")
	return strings.ReplaceAll(path, "+*", "+/*")
}

func drawParams(t *rapid.T, label string) map[string][]string {
	name := rapid.SampledFrom([]string{"p", "q", "*"})
	values := rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "x*", "*y", "*z*", "X,y", "1000", "1e3", "1h", "3600", "1", "true"}), 0, 2)
	m := rapid.MapOfN(name, values, 1, 2).Draw(t, label)
	if _, all := m["*"]; all {
		m["*"] = []string{}
	}
	return m
}

func drawRule(t *rapid.T, policy string) oracleRule {
	caps := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"create", "read", "update", "patch", "delete", "list", "scan", "sudo",
	}), 3, 8, rapid.ID[string]).Draw(t, "caps")
	r := oracleRule{policy: policy, path: drawPattern(t), caps: caps}
	if rapid.IntRange(0, 5).Draw(t, "deny") == 0 {
		r.caps = append(r.caps, "deny")
	}
	if rapid.IntRange(0, 2).Draw(t, "conditional") == 0 {
		r.cond = rapid.SampledFrom(slices.Sorted(maps.Keys(oracleConditions))).Draw(t, "condition")
	}
	if rapid.IntRange(0, 2).Draw(t, "plain") > 0 {
		return r
	}
	if rapid.Bool().Draw(t, "allows") {
		r.allowed = drawParams(t, "allowed")
	}
	if rapid.Bool().Draw(t, "denies") {
		r.denied = drawParams(t, "denied")
	}
	if rapid.Bool().Draw(t, "requires") {
		r.required = []string{rapid.SampledFrom([]string{"p", "q", "limit"}).Draw(t, "required")}
	}
	r.page = rapid.IntRange(0, 2).Draw(t, "page")
	r.min = rapid.IntRange(0, 2).Draw(t, "min")
	if r.max = rapid.IntRange(0, 3).Draw(t, "max"); r.max < r.min {
		r.max = 0
	}
	return r
}

// drawPath gives any path, or more often one near a rule's.
func drawPath(t *rapid.T, rules []oracleRule) string {
	segment := rapid.SampledFrom([]string{"a", "b", "A", "ab", "AB", "a+", "abc", "a*b"})
	path := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "path"), "/")
	if rapid.IntRange(0, 3).Draw(t, "near") > 0 {
		like := rapid.SampledFrom(rules).Draw(t, "like").path
		segments := strings.Split(strings.TrimSuffix(like, "*"), "/")
		for i, s := range segments {
			if s == "+" {
				segments[i] = segment.Draw(t, "segment")
			}
		}
		path = strings.Join(segments, "/")
		if strings.HasSuffix(like, "*") {
			path += rapid.SampledFrom([]string{"", "b", "a/b"}).Draw(t, "tail")
		}
	}
	if path = strings.TrimSuffix(path, "/"); rapid.IntRange(0, 2).Draw(t, "slash") == 0 {
		path += "/"
	}
	return path
}

func drawRequest(t *rapid.T, rules []oracleRule) oracleRequest {
	q := oracleRequest{path: drawPath(t, rules), verb: rapid.SampledFrom([]string{
		"create", "read", "update", "patch", "delete", "list", "scan", "list",
	}).Draw(t, "verb"), wrap: rapid.IntRange(0, 3).Draw(t, "wrap")}
	q.source = rapid.SampledFrom([]string{"", "10.1.2.3", "192.168.0.1"}).Draw(t, "source")
	q.team = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "team")
	q.hour = rapid.SampledFrom([]int{3, 15}).Draw(t, "hour")
	name := rapid.SampledFrom([]string{"p", "q", "limit", "r", "P", "Limit"})
	value := rapid.SampledFrom([]any{"x", "y", "xy", "azb", "x,q", "Y ", []any{"w", "x"}, "X,y", "-1", "0", "1", "2", "max", nil, "",
		"1e3", "01000", "+1000", "1000.0", "16m40s", "3600", "1h", "60m", "1s", "+1", "true", "t", "1h,x", []any{"w", "1e3"}})
	q.params = rapid.MapOfN(name, value, 0, 2).Draw(t, "params")
	return q
}

func (q oracleRequest) request() Request {
	req := Request{
		Path: q.path, Op: oracleVerbs[q.verb], Params: ParamMap(q.params), WrapTTL: time.Duration(q.wrap) * time.Second,
		Now: time.Date(2026, 3, 4, q.hour, 30, 0, 0, time.UTC), Facts: &Facts{TokenType: "service", Metadata: map[string]string{}},
	}
	if q.source != "" {
		req.Facts.Source = netip.MustParseAddr(q.source)
	}
	if q.team != "" {
		req.Facts.Metadata["team"] = q.team
	}
	return req
}

// TestDecideAgreesWithOracle asks for 20 requests a check. The long form, a
// million triples of policies, path and verb, is -rapid.checks=50000.
func TestDecideAgreesWithOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := oracle{exprs: map[string]*regexp.Regexp{}}
		var policies []*Policy
		for i := range rapid.IntRange(1, 3).Draw(t, "policies") {
			name := "p" + strconv.Itoa(i)
			var rules []oracleRule
			for range rapid.IntRange(1, 6).Draw(t, "rules") {
				rules = append(rules, drawRule(t, name))
			}
			p, err := Parse(name, source(rules))
			if err != nil {
				t.Fatalf("%v\n%s", err, source(rules))
			}
			policies = append(policies, p)
			o.rules = append(o.rules, rules...)
		}
		acl := Compile(time.Time{}, policies...)
		for range 20 {
			q := drawRequest(t, o.rules)
			d := acl.Decide(q.request())
			allowed, page := o.at(q).decide(q)
			if !allowed {
				page = 0
			}
			if d.Allowed != allowed || d.PageLimit != page {
				t.Fatalf("%+v: decided %v (%v, page %d), the oracle %v (page %d)\n%s",
					q, d.Allowed, d.Reason, d.PageLimit, allowed, page, source(o.rules))
			}
		}
	})
}
