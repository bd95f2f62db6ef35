package etcd

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// TestNestedPrefixes has two stores want prefixes of which one lies among the other's
// data: whoever is second is refused, and of two at the same moment one.
func TestNestedPrefixes(t *testing.T) {
	endpoint, _ := server(t, nil)
	openAt(t, endpoint, Options{Prefix: "in/"})
	for _, within := range []string{"in/d/", "in/d/more/"} {
		_, err := Open(t.Context(), Cluster{Endpoints: []string{endpoint}}, Options{Prefix: within})
		wantErr(t, within, err, errForeign)
	}
	openAt(t, endpoint, Options{Prefix: "in/beside/"})

	for i := range 100 {
		outer := fmt.Sprintf("race%d/", i)
		var errs [2]error
		var wg sync.WaitGroup
		for n, prefix := range []string{outer, outer + "d/"} {
			wg.Go(func() {
				s, err := Open(t.Context(), Cluster{Endpoints: []string{endpoint}}, Options{Prefix: prefix})
				if errs[n] = err; err == nil {
					closeStore(t, s)
				}
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[:]...), errForeign) {
			t.Fatalf("round %d: %v", i, errs)
		}
	}
}

func TestEnclosing(t *testing.T) {
	for prefix, want := range map[string][]string{
		"strongroom/": nil, "d/": nil, "x/d/": {"x/"}, "x/d/y/": {"x/"}, "x/dd/": nil, "x/d/d/": {"x/", "x/d/"}, "/d/d/": {"/", "/d/"},
	} {
		if got := enclosing(prefix); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", prefix, got, want)
		}
	}
}
