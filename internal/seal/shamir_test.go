package seal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// slowMul multiplies as one does on paper: all partial products, then the remainder.
func slowMul(a, b byte) byte {
	product := 0
	for i := range 8 {
		if b>>i&1 == 1 {
			product ^= int(a) << i
		}
	}
	for bits.Len(uint(product)) > 8 {
		product ^= 0x11b << (bits.Len(uint(product)) - 9)
	}
	return byte(product)
}

func TestField(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			if got, want := mul(byte(a), byte(b)), slowMul(byte(a), byte(b)); got != want {
				t.Fatalf("%d times %d is %d, want %d", a, b, got, want)
			}
		}
		if a > 0 && mul(byte(a), inverse(byte(a))) != 1 {
			t.Fatalf("%d times its inverse is not 1", a)
		}
	}
	if inverse(0) != 0 {
		t.Error("the inverse of 0 is not 0")
	}
}

func testSecret(seed byte) (s [secretBytes]byte) {
	for i := range s {
		s[i] = seed + byte(7*i)
	}
	return s
}

// TestAllSubsets takes every subset of every set of up to eight shares: it gives
// the secret exactly when it is large enough.
func TestAllSubsets(t *testing.T) {
	secret := testSecret(3)
	for n := 2; n <= 8; n++ {
		for threshold := 2; threshold <= n; threshold++ {
			points, err := split(&secret, n, threshold)
			must(t, err)
			for set := 1; set < 1<<n; set++ {
				var chosen []point
				for i := range n {
					if set>>i&1 == 1 {
						chosen = append(chosen, points[i])
					}
				}
				got, err := combine(chosen)
				must(t, err)
				if enough := len(chosen) >= threshold; enough != (got == secret) {
					t.Fatalf("%d of %d with threshold %d: secret found: %v", len(chosen), n, threshold, got == secret)
				}
			}
		}
	}
}

func TestLargeSets(t *testing.T) {
	secret := testSecret(9)
	for _, c := range [][2]int{{1, 1}, {255, 2}, {255, 128}, {255, 255}} {
		points, err := split(&secret, c[0], c[1])
		must(t, err)
		got, err := combine(points[c[0]-c[1]:])
		if err != nil || got != secret {
			t.Errorf("%d of %d: %v", c[1], c[0], err)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	secret := testSecret(1)
	for _, c := range [][2]int{{0, 0}, {0, 1}, {1, 0}, {-1, -1}, {3, 4}, {3, 1}, {256, 3}, {3, -2}} {
		if _, err := split(&secret, c[0], c[1]); err == nil {
			t.Errorf("%d shares with threshold %d were made", c[0], c[1])
		}
	}
}

func TestCombineRefuses(t *testing.T) {
	secret := testSecret(1)
	points, err := split(&secret, 3, 3)
	must(t, err)
	_, err = combine([]point{points[0], points[1], points[0]})
	wantErr(t, err, errPlaces)
	points[2].x = 0
	_, err = combine(points)
	wantErr(t, err, errPlaces)
	_, err = combine([]point{{}})
	wantErr(t, err, errPlaces)
}

// chiSquare is the statistic of counts against a uniform distribution, with 255
// degrees of freedom: 255 on average, and above 400 once in 10^8 if uniform.
func chiSquare(counts *[256]int) float64 {
	total := 0
	for _, c := range counts {
		total += c
	}
	expected, sum := float64(total)/256, 0.0
	for _, c := range counts {
		sum += (float64(c) - expected) * (float64(c) - expected) / expected
	}
	return sum
}

// TestTooFewSharesTellNothing shares one secret many times: what one share
// fewer than the threshold says, each share by itself and what they combine
// to, is uniform.
func TestTooFewSharesTellNothing(t *testing.T) {
	for _, secret := range [][secretBytes]byte{{}, testSecret(77)} {
		for _, threshold := range []int{2, 3, 5} {
			var single, combined [256]int
			for range 1500 {
				points, err := split(&secret, threshold, threshold)
				must(t, err)
				guess, err := combine(points[:threshold-1])
				must(t, err)
				for i := range secret {
					single[points[0].y[i]]++
					combined[guess[i]]++
				}
			}
			if a, b := chiSquare(&single), chiSquare(&combined); a > 400 || b > 400 {
				t.Errorf("threshold %d: chi-square %.0f of a share, %.0f of too few combined", threshold, a, b)
			}
		}
	}
	var biased [256]int // the control: 3 % too many of one value
	for i := range biased {
		biased[i] = 187
	}
	biased[0] += 1500
	if chiSquare(&biased) < 400 {
		t.Error("the statistic does not see a bias")
	}
}

func TestPlacesAreDistinct(t *testing.T) {
	seen := map[byte]bool{}
	points, err := places(255)
	must(t, err)
	for _, p := range points {
		if p.x == 0 || seen[p.x] {
			t.Fatalf("place %d is zero or taken twice", p.x)
		}
		seen[p.x] = true
	}
}

func handedOut(t testing.TB, shares, threshold int) ([]byte, Created) {
	t.Helper()
	c, err := Shamir{}.Create(context.Background(), "", SlotSpec{Shares: shares, Threshold: threshold})
	must(t, err)
	return c.Key, c
}

func TestShareForms(t *testing.T) {
	_, c := handedOut(t, 3, 2)
	for i, s := range c.Shares {
		if s.Index() != i+1 {
			t.Errorf("share %d has index %d", i+1, s.Index())
		}
		if n := len(s.Base64().Reveal()); n != 60 || strings.Contains(s.Base64().Reveal(), "=") {
			t.Errorf("base64 of %d characters", n)
		}
		for _, text := range []api.Secret{
			s.Base64(), s.Hex(), api.NewSecret(" " + s.Base64().Reveal() + "\n"),
			api.NewSecret(strings.ToUpper(s.Hex().Reveal())),
		} {
			got, err := ParseShare(text)
			if err != nil || got != s {
				t.Errorf("share %d reads back differently: %v", i+1, err)
			}
		}
	}
	if got := fmt.Sprintf("%v %+v %#v %s %x %v", c.Shares[0], c.Shares[0], c.Shares[0], c.Shares[0], c.Shares[0], NewSlot{Handed: c.Shares}); strings.Count(got, redacted) != 8 {
		t.Errorf("a share prints as %s", got)
	}
}

func TestMistypedShares(t *testing.T) {
	_, c := handedOut(t, 3, 2)
	good := c.Shares[0].encode()
	for at := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << bit
			_, err := ParseShare(api.NewSecret(hex.EncodeToString(bad)))
			wantErr(t, err, ErrShare)
		}
		_, err := ParseShare(api.NewSecret(hex.EncodeToString(good[:at])))
		wantErr(t, err, ErrShare)
	}
	zero := c.Shares[0]
	zero.x = 0
	_, err := ParseShare(zero.Base64())
	wantErr(t, err, ErrShare)
}

// TestWrongShareIsNamed changes shares together with their checksums.
func TestWrongShareIsNamed(t *testing.T) {
	_, c := handedOut(t, 5, 3)
	_, next := handedOut(t, 5, 3)
	forged := c.Shares[3]
	forged.y[0] ^= 1
	_, err := Shamir{}.Accept(c.Params, forged)
	wantErr(t, err, ErrWrongShare)
	if !strings.Contains(err.Error(), "number 4") {
		t.Errorf("the wrong share is not named: %v", err)
	}
	moved := c.Shares[1]
	moved.index = 1
	_, err = Shamir{}.Accept(c.Params, moved)
	wantErr(t, err, ErrWrongShare)
	moved.index = 9
	_, err = Shamir{}.Accept(c.Params, moved)
	wantErr(t, err, ErrWrongShare)
	if ok, err := (Shamir{}).Accept(c.Params, next.Shares[0]); ok || err != nil {
		t.Errorf("a share of another generation: %v, %v", ok, err)
	}
	for _, s := range c.Shares {
		if ok, err := (Shamir{}).Accept(c.Params, s); !ok || err != nil {
			t.Errorf("share %d: %v, %v", s.index, ok, err)
		}
	}
}

func FuzzShare(f *testing.F) {
	_, c := handedOut(f, 3, 2)
	f.Add(c.Shares[0].Base64().Reveal())
	f.Add(c.Shares[1].Hex().Reveal())
	f.Add("")
	f.Add("AQ==")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseShare(api.NewSecret(text))
		if err != nil {
			wantErr(t, err, ErrShare)
			return
		}
		again, err := ParseShare(s.Base64())
		if err != nil || again != s || s.x == 0 {
			t.Errorf("%q reads as a share that does not read back", text)
		}
	})
}

func FuzzSlotParams(f *testing.F) {
	_, c := handedOut(f, 3, 2)
	f.Add([]byte(c.Params))
	f.Add([]byte(`{"file":"0011223344556677.key"}`))
	f.Add([]byte(`{"file":"../x.key","set":"","shares":3,"threshold":2,"commitments":[null,null,null]}`))
	f.Fuzz(func(t *testing.T, params []byte) {
		if name, err := fileName(params); err == nil && strings.ContainsAny(name, "/\\") {
			t.Errorf("a file slot may read %q", name)
		}
		if ok, err := (Shamir{}).Accept(params, c.Shares[0]); ok && err != nil {
			t.Error("accepted with an error")
		}
	})
}
