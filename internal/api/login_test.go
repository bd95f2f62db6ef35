package api

import (
	"net/netip"
	"testing"
	"time"
)

func ptr[T any](v T) *T { return &v }

func TestTokenTerms(t *testing.T) {
	var kept TokenTerms
	f := TokenFields{TokenTTL: ptr(Duration(time.Hour)), TokenPolicies: ptr([]string{"dev"}), TokenBoundCIDRs: ptr([]string{"10.0.0.0/8", "::1"})}
	if err := f.Apply(&kept); err != nil {
		t.Fatal(err)
	}
	if err := (&TokenFields{TokenNumUses: ptr(3)}).Apply(&kept); err != nil || kept.TTL != time.Hour || kept.NumUses != 3 {
		t.Errorf("what is absent changed: %+v, %v", kept, err)
	}
	a := kept.Answer()
	if a.TokenTTL != Duration(time.Hour) || a.TokenType != "default" || len(a.TokenBoundCIDRs) != 2 || (&TokenTerms{}).Answer().TokenPolicies == nil {
		t.Errorf("is read as %+v", a)
	}
	if l := kept.Auth(); l.TTL != time.Hour || l.NumUses != 3 || !l.Renewable || l.TokenPolicies[0] != "dev" {
		t.Errorf("a login by it answers %+v", l)
	}
	for name, bad := range map[string]TokenFields{
		"negative": {TokenTTL: ptr(Duration(-1))}, "longer than the longest": {TokenTTL: ptr(Duration(2 * time.Hour)), TokenMaxTTL: ptr(Duration(time.Hour))},
		"no type": {TokenType: ptr("Batch")}, "no range": {TokenBoundCIDRs: ptr([]string{"10.0.0.0/33"})},
		"batch with uses": {TokenType: ptr("batch"), TokenNumUses: ptr(1)}, "root": {TokenPolicies: ptr([]string{"dev", " Root\u00a0"})},
	} {
		if err := bad.Apply(&TokenTerms{}); KindOf(err) != Invalid {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		addr  string
		cidrs []string
		want  bool
	}{
		{"10.1.2.3", nil, true}, {"10.1.2.3", []string{"10.0.0.0/8"}, true}, {"::ffff:10.1.2.3", []string{"10.0.0.0/8"}, true},
		{"11.1.2.3", []string{"10.0.0.0/8"}, false}, {"10.1.2.3", []string{"10.1.2.3"}, true}, {"10.1.2.3", []string{"::ffff:10.1.2.3"}, true},
		{"10.1.2.3", []string{"nonsense"}, false}, {"10.1.2.3", []string{"11.0.0.0/8", "10.1.2.0/24"}, true}, {"fe80::1", []string{"10.0.0.0/8"}, false},
	} {
		if got := Within(netip.MustParseAddr(c.addr), c.cidrs); got != c.want {
			t.Errorf("%s within %v: %v", c.addr, c.cidrs, got)
		}
	}
	if Within(netip.Addr{}, []string{"0.0.0.0/0", "::/0"}) {
		t.Error("an address that is not known lies in all of them")
	}
}
