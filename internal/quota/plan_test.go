package quota

import (
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
)

// No spelling of a path escapes a quota, and of two that end in * the longer counts.
func TestMostSpecificInAnySpelling(t *testing.T) {
	x := newIndex[Rate]()
	for name, p := range map[string]place{"exact": {Rest: "data/App"}, "short": {Rest: "data/a", Glob: true}, "long": {Rest: "data/ab", Glob: true}, "dir": {Rest: "Dir/", Glob: true}, "whole": {}} {
		p.NamespaceID, p.MountID = "ns", "m"
		x.add(&p, &Rate{Name: name})
	}
	x.settle()
	for rest, want := range map[string]string{"data/app": "exact", "DATA/APP": "exact", "data/app/": "exact", "data/a": "short", "Data/AB": "long", "data/abc": "long", "dir/x": "dir", "DIR": "dir", "other": "whole", "": "whole"} {
		q, err := x.find(t.Context(), &Request{Namespace: &namespace.Namespace{ID: "ns"}, MountID: "m", Rest: rest}, nil)
		if err != nil || q == nil || q.Name != want {
			t.Errorf("%q meets %+v, %v; want %s", rest, q, err, want)
		}
	}
}

// What is exempt is so in any spelling, and with what lies below it alone.
func TestExemptInAnySpelling(t *testing.T) {
	p := newPlan()
	p.settings = &Settings{Exempt: []string{"sys/Health"}, Absolute: []string{"team/secret/a"}}
	p.settle()
	for at, want := range map[[2]string]bool{{"", "sys/health"}: true, {"team/", "SYS/health/x"}: true, {"", "sys/healthy"}: false, {"", "sys"}: false, {"Team/", "Secret/A"}: true, {"", "secret/a"}: false, {"team/", "secret/ab"}: false} {
		if got := p.Exempt(at[0], at[1]); got != want {
			t.Errorf("%v is exempt: %v", at, got)
		}
	}
}

// A bucket of somebody who is blocked is not given up, though its requests are free again.
func TestBlockedIsNotForgotten(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBucket(key{"q", "c"}, terms{rate: 1, interval: time.Second, block: time.Hour}, now)
	b.take(now)
	if v := b.take(now); v.Allowed || v.Wait != time.Hour {
		t.Fatalf("the second is %+v", v)
	}
	for after, idle := range map[time.Duration]bool{time.Minute: false, time.Hour: true} {
		if got := b.idle(now.Add(after)); got != idle {
			t.Errorf("after %s it is as a new one: %v", after, got)
		}
	}
}

// A role is that of an auth method as a whole.
func TestRoleIsOfAMethod(t *testing.T) {
	s := &Store{Config: Config{Mounts: &mount.Mounts{}}}
	for path, p := range map[string]place{"auth/in/": {Role: "r", Rest: "login"}, "a/": {Role: "r"}} {
		if err := s.checkRole(&mount.Entry{Path: path, Type: "thing"}, &p); err == nil || err.Error() != "role: path must be that of an auth method" {
			t.Errorf("%s%s: %v", path, p.Rest, err)
		}
	}
}
