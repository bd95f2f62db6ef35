package gate

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestAskingIsBounded(t *testing.T) {
	from := func(n int) netip.Prefix { return Neighbourhood(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})) }
	take := func(a *asking, who func(i int) asker) (in []asker) {
		for i := range 1000 {
			if w := who(i); a.begin(w) {
				in = append(in, w)
			}
		}
		return in
	}
	for what, c := range map[string]struct {
		who  func(i int) asker
		most int
	}{
		"one client at one mount":   {func(int) asker { return asker{"a", from(1)} }, maxAskingFrom},
		"many clients at one mount": {func(i int) asker { return asker{"a", from(i)} }, maxAskingMount},
		"one network of IPv6": {func(i int) asker {
			return asker{"a", Neighbourhood(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))}
		}, maxAskingFrom},
		"many at many mounts": {func(i int) asker { return asker{fmt.Sprint(i), from(i)} }, maxAsking},
		"without an address":  {func(int) asker { return asker{"a", netip.Prefix{}} }, maxAskingFrom},
	} {
		var a asking
		in := take(&a, c.who)
		if len(in) != c.most {
			t.Errorf("%s: %d are served, want %d", what, len(in), c.most)
		}
		for _, w := range in {
			a.end(w)
		}
		if a.all != 0 || len(a.mounts) != 0 || len(a.from) != 0 {
			t.Errorf("%s: once all are answered there are %d, %v, %v", what, a.all, a.mounts, a.from)
		}
	}
}
