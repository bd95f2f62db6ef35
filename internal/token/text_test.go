package token

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// scanner is the expression in the package's comment.
var scanner = regexp.MustCompile(`\bsr(s_[0-9A-Za-z]{49}|b_[0-9A-Za-z_-]{46,})(\.[0-9A-Za-z_-]{1,64})?`)

func TestTokensAreRecognised(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{
		f.root, f.child(f.root, `{"policies":["p"]}`),
		f.child(f.root, `{"type":"batch","policies":["p"]}`),
		f.child(f.root, `{"policies":["p"]}`, in("ns1"), withSudo),
		f.child(f.root, `{"type":"batch","policies":["p"]}`, in("ns1"), withSudo),
	} {
		if got := scanner.FindString(`export TOKEN="` + text + `"`); got != text {
			t.Errorf("the scanner finds %d of %d characters", len(got), len(text))
		}
		f.mustBe(text, true)
	}
}

func TestTokensDiffer(t *testing.T) {
	seen := map[string]bool{}
	counts := map[byte]int{}
	for range 2000 {
		text := newText(RootNamespace)
		if seen[text] || len(text) != len(servicePrefix)+bodyLen+checksumLen {
			t.Fatal("a token is repeated or has the wrong length")
		}
		seen[text] = true
		for i := range bodyLen {
			counts[text[len(servicePrefix)+i]]++
		}
	}
	// 86,000 digits over 62 values: 1387 each, with a deviation of 37.
	for d, n := range counts {
		if n < 1387-6*37 || n > 1387+6*37 {
			t.Errorf("digit %c occurs %d times", d, n)
		}
	}
	if len(counts) != 62 {
		t.Errorf("%d digits occur", len(counts))
	}
}

// counted fails the test when it is read.
type counted struct {
	store.Store
	reads int
}

func (c *counted) Get(ctx context.Context, key string) (store.Entry, error) {
	c.reads++
	return c.Store.Get(ctx, key)
}

// What cannot be a token is refused without asking the store.
func TestMalformedTokensDoNotReachTheStore(t *testing.T) {
	good := newText(RootNamespace)
	batch := batchText([]byte("0123456789012345678901234567890123456789"), RootNamespace)
	swapped := []byte(good)
	swapped[10], swapped[11] = swapped[11], swapped[10]
	if swapped[10] == swapped[11] {
		swapped[10] ^= 1
	}
	inner := &counted{Store: mem.Open()}
	f := newFixtureOn(t, inner)
	inner.reads = 0
	for _, text := range []string{
		"", "srs_", "srb_", good[:len(good)-1], good + "x", string(swapped), good + ".", good + ".root", good + ".a.b", good + "./",
		good + ".unknown", batch, batch + "=", "s.2q8E7ZwgfwmHhsgLPHF9fRPq", "hvs.CAESI", "a b", "a.b", "a\x00b", "é", strings.Repeat("a", 300), strings.Repeat("srb_", 10_000),
	} {
		if f.alive(text) {
			t.Errorf("a malformed token is alive")
		}
	}
	if inner.reads != 0 {
		t.Errorf("the store was read %d times", inner.reads)
	}
	if f.mustBe(newText(RootNamespace), false); inner.reads != 1 {
		t.Errorf("the control read the store %d times", inner.reads)
	}
}

func TestCustomTokens(t *testing.T) {
	f := newFixture(t)
	if got := f.child(f.root, `{"id":"my-root"}`); got != "my-root" {
		t.Errorf("the token is %q", got)
	}
	f.mustBe("my-root", true)
	for _, c := range []struct{ body, message string }{
		{`{"id":"my-root"}`, "cannot create a token with a duplicate ID"},
		{`{"id":"x.x"}`, "custom token ID cannot have a '.' in the value"},
		{`{"id":"s.x"}`, "custom token ID begins like a generated token"},
		{`{"id":"hvs.x"}`, "custom token ID begins like a generated token"},
		{`{"id":"srs_x"}`, "custom token ID begins like a generated token"},
		{`{"id":"srb_x"}`, "custom token ID begins like a generated token"},
		{`{"id":"a b"}`, "custom token ID must be printable ASCII without spaces"},
	} {
		_, _, err := f.write(f.root, "create", c.body)
		if err == nil || err.Error() != c.message {
			t.Errorf("%s: %v; want %q", c.body, err, c.message)
		}
	}
	if len(f.rows("my-root")) != 0 {
		t.Error("a row's key holds the token")
	}
	if err := f.revoke("my-root"); err != nil {
		t.Fatal(err)
	}
	f.mustBe("my-root", false)
}

func FuzzParse(f *testing.F) {
	f.Add(newText(RootNamespace))
	f.Add(newText("ns1"))
	f.Add(batchText([]byte("blob"), "ns1"))
	f.Add("root")
	f.Add("srb_.")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parse(text)
		if err != nil {
			return
		}
		if len(text) > maxTextLen || strings.ContainsAny(text, " \x00\n") || p.namespace == "" {
			t.Errorf("%q was taken for a token", text)
		}
		switch {
		case p.batch && batchText(p.blob, p.namespace) != text:
			t.Errorf("%q has a second spelling", text)
		case p.custom != (checkCustom(text) == nil):
			t.Errorf("%q is both generated and custom", text)
		}
		if ns, err := accessorNamespace(text); err == nil && ns != p.namespace {
			t.Errorf("%q is of two namespaces", text)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	f := newFixture(b)
	text := f.child(f.root, `{"policies":["p"]}`)
	f.mustBe(text, true)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.s.Lookup(context.Background(), text, f.now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	f := newFixture(b)
	b.ReportAllocs()
	for b.Loop() {
		f.issue(Spec{Namespace: RootNamespace, Path: "auth/x/login"})
	}
}
