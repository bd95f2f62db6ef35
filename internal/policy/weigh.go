package policy

import "errors"

// errTooLong is why a condition is not weighed.
var errTooLong = errors.New("the conditions of this request take too long together")

// weighing is one request's conditions, each evaluated at most once and only
// where a rule that has it could decide. A nil *weighing is for ACLs without
// conditions.
//
// A rule whose condition is false does not exist for the request. One whose
// condition cannot be told counts as a rule that denies.
type weighing struct {
	request Request
	results []weighed
}

type weighed struct {
	condition *condition
	truth     truth
	why       error // of one that is broken
}

func newWeighing(req Request) *weighing {
	if req.Facts == nil {
		req.Facts = &Facts{}
	}
	req.Facts.left.decide()
	return &weighing{request: req}
}

// weigh gives what the rule's condition comes to; a rule without one holds.
func (w *weighing) weigh(r *Rule) (truth, error) {
	if r.cond == nil {
		return holds, nil
	}
	for i := range w.results {
		if w.results[i].condition == r.cond {
			return w.results[i].truth, w.results[i].why
		}
	}
	result, why := broken, errTooLong
	if left := &w.request.Facts.left; left.n > 0 {
		var taken int64
		result, taken, why = r.cond.eval(known{&w.request})
		left.n -= taken
	}
	w.results = append(w.results, weighed{r.cond, result, why})
	return result, why
}

// exists says whether anything of the merged rule is there for the request.
// What is among the folded denies is there only if one of its denies is.
func (w *weighing) exists(m *merged) bool {
	if !m.conditional {
		return true
	}
	for _, r := range m.rules {
		if m.onlyDenies && r.Capabilities&Deny == 0 {
			continue
		}
		if t, _ := w.weigh(r); t != unmet {
			return true
		}
	}
	return false
}

// settle gives what the merged rule comes to for the request: the rules that
// exist for it, merged.
func (w *weighing) settle(m *merged) *merged {
	if m == nil || !m.conditional {
		return m
	}
	out := &merged{pattern: m.pattern, ranking: m.ranking, onlyDenies: m.onlyDenies}
	failed, denied := false, false
	for _, r := range m.rules {
		t, _ := w.weigh(r)
		if t == unmet {
			continue
		}
		out.rules = append(out.rules, r)
		failed = failed || t == broken
		denied = denied || t == holds && r.Capabilities&Deny != 0
	}
	out.join()
	if failed || out.onlyDenies {
		out.caps, out.limits, out.free = Deny, limits{}, true
	}
	out.broken = failed && !denied
	return out
}
