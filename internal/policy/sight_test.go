package policy

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSight(t *testing.T) {
	acl := compile(t, `
path "kv/*"          { capabilities = ["read"] }
path "kv/team/*"     { capabilities = ["deny"] }
path "kv/team/a/b/c" { capabilities = ["read"] }
path "kv/none/*"     { capabilities = [] }
path "kv/Hid/*"      { capabilities = ["deny"] }
path "kv/sudo"       { capabilities = ["sudo"] }
path "kv/day/*"      { capabilities = ["deny"] condition = "token.type == 'batch'" }
path "other/+/x"     { capabilities = ["list"] }
path "cond/x/*"      { capabilities = ["read"] condition = "token.type == 'service' && request.operation == 'read'" }`)
	for path, want := range map[string]bool{
		"kv/x": true, "kv/x/": true, "kv/team/": true, "kv/team/a/": true, "kv/team/z/": false, "kv/team/x": false,
		"kv/team/a/b/c": true, "kv/none/": false, "kv/none/x": false, "kv/hid/": false, "kv/sudo": false, "kv/day/": true,
		"other/a/": true, "other/a/x": false, "other/a/x/": true, "other/a/y": false, "other/a/y/": false, "elsewhere": false, "elsewhere/": false,
		"cond/x/": true, "cond/x/y": true,
	} {
		s := acl.Sight(Request{Facts: &Facts{TokenType: "service"}})
		if got := s.Sees(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
		dir := path[:strings.LastIndexByte(strings.TrimSuffix(path, "/"), '/')+1]
		if got := acl.Sight(Request{Path: dir, Facts: &Facts{TokenType: "service"}}).Sees(path); got != want {
			t.Errorf("%s, from %s: %v", path, dir, got)
		}
	}
	batch := acl.Sight(Request{Facts: &Facts{TokenType: "batch"}})
	if batch.Sees("kv/day/") || batch.Sees("cond/x/") {
		t.Error("conditions are not weighed")
	}
	if !Root().Sight(Request{}).Sees("x") || (*ACL)(nil).Sight(Request{}).Sees("x") {
		t.Error("root sees all, and nobody nothing")
	}
}

// TestSightHidesNothingGranted: whatever a request may be allowed to do is seen,
// and so is every directory above it.
func TestSightHidesNothingGranted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []oracleRule
		for range rapid.IntRange(1, 6).Draw(t, "rules") {
			r := drawRule(t, "p")
			r.cond = ""
			rules = append(rules, r)
		}
		p, err := Parse("p", source(rules))
		if err != nil {
			t.Fatal(err)
		}
		acl := Compile(time.Time{}, p)
		for i := range 10 {
			path := drawPath(t, rules)
			for verb := Create; verb <= Scan; verb <<= 1 {
				d := acl.Decide(Request{Path: path, Op: verb})
				listed := verb&(List|Scan) != 0
				if d.Capabilities&verb == 0 || d.Reason == Denied {
					continue
				}
				if listed && !strings.HasSuffix(path, "/") {
					path += "/"
				}
				for _, dir := range dirsOf(path) {
					if !acl.Sight(Request{Path: dir}).Sees(path) {
						t.Fatalf("%s %s is allowed and hidden below %q (%s)\n%s", verb, path, dir, strconv.Itoa(i), source(rules))
					}
					if dir != "" && !acl.Sight(Request{}).Sees(dir) {
						t.Fatalf("%s %s is allowed, and %s is hidden\n%s", verb, path, dir, source(rules))
					}
				}
			}
		}
	})
}

// dirsOf are the directories above a path.
func dirsOf(path string) []string {
	out := []string{""}
	for i, c := range strings.TrimSuffix(path, "/") {
		if c == '/' {
			out = append(out, path[:i+1])
		}
	}
	return out
}
