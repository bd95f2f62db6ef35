package vault

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
)

// TestBudget compares random requests with the sums of what they hold.
func TestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most, each = 100, 40
		b := &budget{most: most, each: each, held: map[string]int64{}}
		var shares []*share
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(shares) == 0 || rapid.Bool().Draw(t, "a new one") {
				shares = append(shares, &share{of: b, who: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "who")})
			}
			s := rapid.SampledFrom(shares).Draw(t, "share")
			var all, own int64
			for _, other := range shares {
				all += other.n
				if other.who == s.who {
					own += other.n
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "end") == 0 {
				s.release()
				continue
			}
			n := rapid.Int64Range(1, 30).Draw(t, "bytes")
			want := api.Kind(0)
			switch {
			case own+n > each:
				want = api.TooMany
			case all+n > most:
				want = api.Unavailable
			}
			if err := s.grow(n); (err != nil) != (want != 0) || err != nil && api.KindOf(err) != want {
				t.Fatalf("%d more of %d, %d in all: %v", n, own, all, err)
			}
		}
		for _, s := range shares {
			s.release()
		}
		if b.all != 0 || len(b.held) != 0 {
			t.Fatalf("held by nobody: %d, %v", b.all, b.held)
		}
	})
}
