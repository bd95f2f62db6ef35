package policy

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPasswordsMeetTheirPolicy(t *testing.T) {
	p, err := ParsePassword("p", `
length = 12
rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" }
rule "charset" { charset = "ABC" min-chars = 2 }
rule "charset" { charset = "0é0" min-chars = "1" }`)
	if err != nil {
		t.Fatal(err)
	}
	random, seen := rand.NewChaCha8([32]byte{7}), map[string]bool{}
	for range 200 {
		s, err := p.Generate(random)
		if err != nil || utf8.RuneCountInString(s) != 12 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABC0é") != "" {
			t.Fatalf("%q, %v", s, err)
		}
		upper := len(s) - len(strings.NewReplacer("A", "", "B", "", "C", "").Replace(s))
		if upper < 2 || !strings.ContainsAny(s, "0é") || seen[s] {
			t.Fatalf("%q", s)
		}
		seen[s] = true
	}
	if _, err := p.Generate(strings.NewReader("ab")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without randomness: %v", err)
	}
}

// Every password that meets the policy is as likely as any other: of the 14 of
// four letters a and b that hold at least one of each, none is favoured.
func TestPasswordsAreEquallyLikely(t *testing.T) {
	p, err := ParsePassword("p", `{"length": 4, "rule": [{"charset": [{"charset": "a", "min-chars": 1}]}, {"charset": {"charset": "bb", "min-chars": 1}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	const draws = 14_000
	random, count := rand.NewChaCha8([32]byte{9}), map[string]int{}
	for range draws {
		s, err := p.Generate(random)
		if err != nil {
			t.Fatal(err)
		}
		count[s]++
	}
	for s, n := range count {
		if n < 850 || n > 1150 { // five standard deviations
			t.Errorf("%s: %d of %d", s, n, draws)
		}
	}
	if len(count) != 14 || count["aaaa"]+count["bbbb"] != 0 {
		t.Errorf("%v", count)
	}
}

func TestDrawIsUnbiased(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 64, 65} {
		random, count := rand.NewChaCha8([32]byte{3}), make([]int, n)
		for range n * 1000 {
			at, err := draw(random, n)
			if err != nil {
				t.Fatal(err)
			}
			count[at]++
		}
		for i, c := range count {
			if c < 830 || c > 1170 {
				t.Errorf("of %d, number %d: %d of 1000 expected", n, i, c)
			}
		}
	}
}

func TestPasswordPolicyFaults(t *testing.T) {
	const rule = `rule "charset" { charset = "abc" }`
	for src, says := range map[string]string{
		``:                                "there is no length",
		`length = 3` + "\n" + rule:        "line 1: passwords must be between 4 and 100",
		`length = 101` + "\n" + rule:      "between 4 and 100",
		`length = -1` + "\n" + rule:       "length is not a count",
		`length = 8`:                      "no charset specified",
		rule:                              "there is no length",
		"length = 8\nlength = 9\n" + rule: "already set on line 1",
		"length = 8\nrule \"foo\" { charset = \"a\" }":                                                                         "line 2: unrecognized rule type",
		"length = 8\nrule \"charset\" { charset = \"\" }":                                                                      "no charset",
		"length = 8\nrule \"charset\" { charset = \"ab\" min_chars = 1 }":                                                      "min-chars",
		"length = 8\nrule \"charset\" { charset = \"ab\" min-chars = -1 }":                                                     "min-chars is not a count",
		"length = 8\nrule \"charset\" { charset = \"a\\u0001\" }":                                                              "non-printable",
		"length = 8\nrule \"charset\" { charset = [\"a\"] }":                                                                   "charset is a list",
		"length = 8\nrule \"charset\" { charset = \"ab\" min-chars = 9 }":                                                      "requires 9",
		"length = 8\nrule \"charset\" { charset = \"ab\" min-chars = 5 }\nrule \"charset\" { charset = \"cd\" min-chars = 4 }": "at least 9",
		"length = 20\nrule \"charset\" { charset = \"a\" min-chars = 20 }\nrule \"charset\" { charset = \"abcdefghijkl\" }":    "less than one in 2000",
		"length = 8\nfoo = 1\n" + rule:                                                                                         "line 2: unknown key",
		"length = 8\nrule = 5":                                                                                                 "rule is a number",
		"length = 8\n{":                                                                                                        "not valid HCL",
		"length = 8\n" + strings.Repeat(rule+"\n", 33):                                                                         "more than 32",
		"length = 8\nrule \"charset\" { charset = \"" + strings.Repeat("a", maxCharset+1) + "\" }":                             "more than 4096",
		strings.Repeat(" ", maxPasswordSource+1):                                                                               "longer",
	} {
		_, err := ParsePassword("p", src)
		pe := (*ParseError)(nil)
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), says) || pe.Faults[0].Remedy == "" || pe.Faults[0].Line < 1 {
			t.Errorf("%.100q: %v, want %q", src, err, says)
		}
	}
	// Rules that share characters can be met by one.
	if _, err := ParsePassword("p", "length = 4\nrule \"charset\" { charset = \"ab\" min-chars = 4 }\nrule \"charset\" { charset = \"bc\" min-chars = 2 }"); err != nil {
		t.Error(err)
	}
}

func FuzzParsePassword(f *testing.F) {
	f.Add("length = 20\nrule \"charset\" { charset = \"abc\" min-chars = 1 }")
	f.Add(`{"length":8,"rule":[{"charset":[{"charset":"abc","min-chars":1}]}]}`)
	f.Add("length = 4\nrule \"charset\" {}\nrule \"charset\" { charset = <<EOT\nx\nEOT\n}")
	f.Fuzz(func(t *testing.T, src string) {
		p, err := ParsePassword("p", src)
		if err != nil {
			pe := (*ParseError)(nil)
			if !errors.As(err, &pe) || len(pe.Faults) == 0 || pe.Faults[0].Line < 1 {
				t.Fatalf("untyped or empty error: %v", err)
			}
			return
		}
		s, err := p.Generate(rand.NewChaCha8([32]byte{}))
		if err != nil || utf8.RuneCountInString(s) != p.length || !p.meets([]rune(s)) {
			t.Fatalf("%q, %v", s, err)
		}
	})
}
