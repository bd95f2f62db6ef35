package namespace

import (
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// FuzzParseSeal gives the reader of a seal's description any text: what it refuses is
// the caller's mistake, and what it takes has shares.
func FuzzParseSeal(f *testing.F) {
	f.Add(`seal "shamir" { shares = 5 threshold = 3 }`)
	f.Add(`{"seal":{"shamir":{"secret_shares":5,"secret_threshold":3}}}`)
	f.Add(`seal "shamir" { shares = "5" threshold = -3 } seal "x" {}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSeal(text, nil)
		if err != nil && api.KindOf(err) != api.Invalid || err == nil && (s.Shares == 0 || s.Threshold == 0) {
			t.Fatalf("%q: %+v, %v", text, s, err)
		}
	})
}
