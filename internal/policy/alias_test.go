package policy

import (
	"testing"

	"pgregory.net/rapid"
)

// renamed is a request whose handler knows parameters by further names.
type renamed struct {
	ParamMap
	names map[string][]string
}

func (r renamed) OtherNames(name string) []string { return r.names[name] }

// periods are two names of one thing.
func periods(params ParamMap) Request {
	return Request{Op: Update, Params: renamed{params, map[string][]string{"period": {"token_period"}, "token_period": {"period"}}}}
}

func TestRulesJudgeEveryName(t *testing.T) {
	old, now := periods(ParamMap{"period": "1h"}), periods(ParamMap{"token_period": "1h"})
	both := periods(ParamMap{"period": "1h", "token_period": "2h"})
	for _, c := range []limitCase{
		{"the new name is denied, the old is sent", []string{`denied_parameters = { "token_period" = [] }`}, old, ParameterDenied},
		{"the old name is denied, the new is sent", []string{`denied_parameters = { "period" = [] }`}, now, ParameterDenied},
		{"a value of the new name is denied, the old is sent", []string{`denied_parameters = { "token_period" = ["60m"] }`}, old, ParameterDenied},
		{"a value of the old name is denied, the new is sent", []string{`denied_parameters = { "period" = ["60m"] }`}, now, ParameterDenied},
		{"another value is denied", []string{`denied_parameters = { "period" = ["3h"] }`}, both, Granted},
		{"a value is denied, both are sent", []string{`denied_parameters = { "period" = ["2h"] }`}, both, ParameterDenied},
		{"the new name is allowed, the old is sent", []string{`allowed_parameters = { "token_period" = [] }`}, old, Granted},
		{"the old name is allowed, the new is sent", []string{`allowed_parameters = { "period" = [] }`}, now, Granted},
		{"a value of the new name is allowed, the old is sent", []string{`allowed_parameters = { "token_period" = ["1h"] }`}, old, Granted},
		{"another value of the new name is allowed, the old is sent", []string{`allowed_parameters = { "token_period" = ["2h"] }`}, old, ParameterNotAllowed},
		{"another value of the old name is allowed, the new is sent", []string{`allowed_parameters = { "period" = ["2h"] }`}, now, ParameterNotAllowed},
		{"the rest is allowed, not the value", []string{`allowed_parameters = { "token_period" = ["2h"], "*" = [] }`}, old, ParameterNotAllowed},
		{"the rest is allowed", []string{`allowed_parameters = { "other" = ["2h"], "*" = [] }`}, old, Granted},
		{"one name allows, the other does not", []string{`allowed_parameters = { "token_period" = ["2h"], "period" = [] }`}, old, ParameterNotAllowed},
		{"neither name is allowed", []string{`allowed_parameters = { "other" = [] }`}, old, ParameterNotAllowed},
		{"one of two values is allowed", []string{`allowed_parameters = { "token_period" = ["2h"] }`}, both, ParameterNotAllowed},
		{"the new name is required, the old is sent", []string{`required_parameters = ["token_period"]`}, old, Granted},
		{"the old name is required, the new is sent", []string{`required_parameters = ["period"]`}, now, Granted},
		{"the new name is required, the old is empty", []string{`required_parameters = ["token_period"]`}, periods(ParamMap{"period": ""}), ParameterMissing},
		{"another is required", []string{`required_parameters = ["other"]`}, both, ParameterMissing},
	} {
		t.Run(c.name, c.check)
	}
}

func TestPagesAreBoundUnderEveryName(t *testing.T) {
	acl := compile(t, `path "kv/" { capabilities = ["list"] pagination_limit = 10 }`)
	req := Request{Path: "kv/", Op: List, Params: renamed{ParamMap{"max": 11}, map[string][]string{"max": {"limit"}}}}
	if d := acl.Decide(req); d.Reason != PageTooLarge {
		t.Errorf("a page over the limit: %v", d.Reason)
	}
}

// Whatever the rules are, a parameter is decided about alike under all its names.
func TestTheNameThatIsSentMakesNoDifference(t *testing.T) {
	value := rapid.SampledFrom([]string{"1h", "60m", "2h", ""})
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"period", "token_period", "other", "*"}), 0, 3, rapid.ID[string])
	rapid.Check(t, func(rt *rapid.T) {
		var cond string
		for _, kind := range []string{"allowed_parameters", "denied_parameters"} {
			cond += kind + " = {"
			for _, n := range names.Draw(rt, kind) {
				cond += ` "` + n + `" = [`
				if n != "*" && rapid.Bool().Draw(rt, "listed") {
					cond += `"` + value.Draw(rt, "value") + `"`
				}
				cond += "],"
			}
			cond += "}\n"
		}
		if n := names.Draw(rt, "required"); len(n) > 0 && n[0] != "*" {
			cond += `required_parameters = ["` + n[0] + `"]`
		}
		acl := compile(t, `path "kv/foo" { capabilities = ["update"] `+cond+` }`)
		v := value.Draw(rt, "sent")
		decide := func(name string) Reason {
			req := periods(ParamMap{name: v})
			req.Path = "kv/foo"
			return acl.Decide(req).Reason
		}
		if a, b := decide("period"), decide("token_period"); a != b {
			rt.Errorf("%s: %q as period is %v, as token_period %v", cond, v, a, b)
		}
	})
}
