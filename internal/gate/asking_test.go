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
		"one client at one mount":   {func(int) asker { return asker{"", "a", from(1)} }, maxAskingFrom},
		"many clients at one mount": {func(i int) asker { return asker{"", "a", from(i)} }, maxAskingMount},
		"one network of IPv6": {func(i int) asker {
			return asker{"", "a", Neighbourhood(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))}
		}, maxAskingFrom},
		"many at many mounts":       {func(i int) asker { return asker{"", fmt.Sprint(i), from(i)} }, maxAsking},
		"one client at many mounts": {func(i int) asker { return asker{"", fmt.Sprint(i), from(1)} }, maxAskingClient},
		"one tenant at many mounts": {func(i int) asker { return asker{"t", fmt.Sprint(i), from(i)} }, maxAskingTenant},
		"many tenants":              {func(i int) asker { return asker{fmt.Sprint("t", i), fmt.Sprint(i), from(i)} }, maxAskingBelow},
		"without an address":        {func(int) asker { return asker{"", "a", netip.Prefix{}} }, maxAskingFrom},
	} {
		var a asking
		in := take(&a, c.who)
		if len(in) != c.most {
			t.Errorf("%s: %d are served, want %d", what, len(in), c.most)
		}
		for _, w := range in {
			a.end(w)
		}
		if a.all+a.below+len(a.tenants)+len(a.mounts)+len(a.clients)+len(a.from) != 0 {
			t.Errorf("%s: once all are answered there are %d, %d, %v, %v, %v, %v", what, a.all, a.below, a.tenants, a.mounts, a.clients, a.from)
		}
	}
}
