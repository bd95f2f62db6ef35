package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// score is how much of one group answers.
type score struct {
	operations, answered int
	params, known        int
	refused              int      // refused operations are so by design, and not counted.
	excepted             int      // excepted are the parameters that are not counted.
	later                int      // later are the operations and parameters of issues to come, not counted.
	missing              []string // missing says in words what does not answer or is of another type.
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}

// compare scores what a server says it serves against the table, group by group. Mounts gives the path at which a group's
// engine is mounted.
func compare(table []operation, have served, mounts map[string]string) map[string]*score {
	scores := map[string]*score{}
	for _, op := range table {
		s := scores[op.group]
		if s == nil {
			s = &score{}
			scores[op.group] = s
		}
		kinds := have[spelling(op.method, mountedPath(op, mounts))]
		if refusedByDesign(op) >= 0 {
			s.refusal(op, kinds)
			continue
		}
		if kinds == nil && covers(later(), op, "") >= 0 {
			s.later++
			continue
		}
		s.add(op, kinds)
	}
	return scores
}

// mountedPath replaces {mount} by the mount of the operation's group.
func mountedPath(op operation, mounts map[string]string) string {
	mount, known := mounts[op.group]
	if !known {
		return op.path
	}
	path := strings.Replace(op.path, "/v1/auth/{mount}/", "/v1/"+mount+"/", 1)
	return strings.Replace(path, "/v1/{mount}/", "/v1/"+mount+"/", 1)
}

// add counts one operation of the table; kinds is nil where the server lacks it.
func (s *score) add(op operation, kinds map[string]string) {
	s.operations++
	if kinds == nil {
		s.params += len(op.params)
		s.missing = append(s.missing, op.method+" "+op.path)
		return
	}
	s.answered++
	for _, p := range op.params {
		have, known := kinds[p.in+"="+p.name]
		switch {
		case !known && covers(meaningless(), op, p.name) >= 0:
			s.excepted++
			continue
		case !known && covers(later(), op, p.name) >= 0:
			s.later++
			continue
		case !known && p.in != "path":
			s.missing = append(s.missing, fmt.Sprintf("%s %s: %s parameter %s (%s)", op.method, op.path, p.in, p.name, p.kind))
		case known && !alike(p.kind, have) && p != (param{"query", "list", "boolean"}): // list=true, as text or as a truth value
			s.missing = append(s.missing, fmt.Sprintf("%s %s: %s parameter %s is %s, want %s", op.method, op.path, p.in, p.name, have, p.kind))
		default:
			s.known++
		}
		s.params++
	}
}

// alike reports whether a type serves clients made for the other: formats of one JSON type are, and so is a duration, which
// is taken as a number of seconds and as text wherever it stands. A path parameter is known by its place, so its name may
// differ.
func alike(want, have string) bool {
	if isDuration(have) && (isDuration(want) || want == "string" || want == "integer") {
		return true
	}
	w, _, _ := strings.Cut(want, ":")
	h, _, _ := strings.Cut(have, ":")
	return w == h
}

func isDuration(kind string) bool { return kind == "integer:seconds" || kind == "string:duration" }

// groups are the names of the groups, the largest first.
func groups(scores map[string]*score) []string {
	return slices.SortedFunc(maps.Keys(scores), func(a, b string) int {
		return cmp.Or(cmp.Compare(scores[b].operations, scores[a].operations), strings.Compare(a, b))
	})
}

// report prints the scores, and with missing also what each group lacks.
func report(w io.Writer, scores map[string]*score, missing bool) {
	var all score
	fmt.Fprintf(w, "%-20s %22s %22s\n", "group", "operations", "parameters")
	line := func(name string, s *score) {
		fmt.Fprintf(w, "%-20s %5d of %4d  %6.1f%% %5d of %4d  %6.1f%%\n", name,
			s.answered, s.operations, percent(s.answered, s.operations), s.known, s.params, percent(s.known, s.params))
	}
	for _, name := range groups(scores) {
		s := scores[name]
		line(name, s)
		all.operations, all.answered = all.operations+s.operations, all.answered+s.answered
		all.params, all.known = all.params+s.params, all.known+s.known
		for _, m := range s.missing {
			if missing {
				fmt.Fprintln(w, "  lacks", m)
			}
		}
	}
	line("all", &all)
	reportExceptions(w, scores)
}
