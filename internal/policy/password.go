package policy

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Bounds of a password policy. Lengths are what other servers take.
const (
	minPassword = 4
	maxPassword = 100
	maxCharset  = 4096 // runes of one charset
	maxCharsets = 32

	maxPasswordSource = 64 << 10

	trials   = 2_000   // in which a policy must give a password when it is written
	attempts = 200_000 // after which Generate gives up
)

// Password is a password policy: how passwords are generated. It must not be
// changed once parsed.
type Password struct {
	length int
	rules  []charset
	all    []rune // every rune of any rule, once
}

// charset is a rule: so many runes at least are of these.
type charset struct {
	runes []rune // sorted, each once
	least int
}

// ErrImprobable is Generate's error for a policy that hardly any password meets.
var ErrImprobable = errors.New("hardly any password meets the policy")

// ParsePassword reads a password policy in HCL or JSON:
//
//	length = 20
//	rule "charset" {
//	  charset   = "abcdefghijklmnopqrstuvwxyz"
//	  min-chars = 1
//	}
//
// Passwords are made of the runes of all charsets. Everything wrong with the
// source is reported at once, as a *ParseError; so is a policy that no password
// meets, or hardly any.
func ParsePassword(name, src string) (*Password, error) {
	p := &passwordParser{parser: parser{policy: &Policy{Name: name}}, out: &Password{}}
	if len(src) > maxPasswordSource {
		p.fault(1, "name fewer characters", "the policy is longer than %d bytes", maxPasswordSource)
	} else if top, fault := readSource(src); fault != nil {
		p.faults = append(p.faults, *fault)
	} else {
		p.top(&top)
	}
	if len(p.faults) == 0 {
		p.possible()
	}
	if len(p.faults) > 0 {
		slices.SortStableFunc(p.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
		return nil, &ParseError{Policy: name, Faults: p.faults[:min(len(p.faults), maxFaults)]}
	}
	return p.out, nil
}

type passwordParser struct {
	parser
	out *Password
}

func (p *passwordParser) top(n *node) {
	p.noRepeatsBut(n, "rule")
	for i := range n.fields {
		switch f := &n.fields[i]; f.key {
		case "length":
			if n, ok := p.count(f); ok && (n < minPassword || n > maxPassword) {
				p.fault(f.val.line, fmt.Sprintf("write length = %d, or what fits", minPassword*5), "passwords must be between %d and %d characters", minPassword, maxPassword)
			} else {
				p.out.length = n
			}
		case "rule":
			p.rules(f)
		default:
			p.fault(f.line, `a password policy holds length and rule "charset" blocks`, "unknown key %s", shown(f.key))
		}
	}
	if !slices.ContainsFunc(n.fields, func(f field) bool { return f.key == "length" }) {
		p.fault(max(1, n.line), "write length = 20", "there is no length")
	}
	if len(p.out.rules) == 0 && len(p.faults) == 0 {
		p.fault(max(1, n.line), `write rule "charset" { charset = "…" }`, "no charset specified")
	}
}

// noRepeatsBut refuses keys that come twice, except one.
func (p *passwordParser) noRepeatsBut(n *node, except string) {
	rest := *n
	rest.fields = slices.DeleteFunc(slices.Clone(n.fields), func(f field) bool { return f.key == except })
	p.noRepeats(&rest, "the key")
}

func (p *passwordParser) rules(f *field) {
	const remedy = `write rule "charset" { charset = "…" }`
	kinds, ok := f.val.blocks()
	if !ok {
		p.fault(f.line, remedy, "rule is %v", f.val.kind)
	}
	for i := range kinds {
		for j := range kinds[i].fields {
			kind := &kinds[i].fields[j]
			stanzas, ok := kind.val.blocks()
			switch {
			case kind.key != "charset":
				p.fault(kind.line, remedy, "unrecognized rule type %s", shown(kind.key))
				continue
			case !ok:
				p.fault(kind.line, remedy, "rule charset is %v", kind.val.kind)
			}
			for k := range stanzas {
				p.charset(&stanzas[k], kind.line)
			}
		}
	}
}

func (p *passwordParser) charset(n *node, line int) {
	p.noRepeats(n, "the key")
	c := charset{}
	for i := range n.fields {
		switch f := &n.fields[i]; f.key {
		case "charset":
			c.runes = p.runes(f)
		case "min-chars":
			c.least, _ = p.count(f)
		default:
			p.fault(f.line, "a charset rule holds charset and min-chars", "unknown key %s", shown(f.key))
		}
	}
	if len(c.runes) == 0 {
		p.fault(line, `write charset = "…"`, "no charset specified")
	}
	if len(p.out.rules) == maxCharsets {
		p.fault(line, "join some of them", "there are more than %d rules", maxCharsets)
		return
	}
	p.out.rules = append(p.out.rules, c)
	p.out.all = distinct(append(p.out.all, c.runes...))
}

func distinct(runes []rune) []rune {
	slices.Sort(runes)
	return slices.Compact(runes)
}

func (p *passwordParser) runes(f *field) []rune {
	text := p.word(f)
	switch {
	case !utf8.ValidString(text):
		p.fault(f.val.line, "write it in UTF-8", "charset is not valid UTF-8")
	case utf8.RuneCountInString(text) > maxCharset:
		p.fault(f.val.line, "name fewer", "charset has more than %d characters", maxCharset)
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			p.fault(f.val.line, "leave it out", "non-printable character in charset")
			break
		}
	}
	return distinct([]rune(text))
}

// count reads a whole number that is not negative.
func (p *passwordParser) count(f *field) (int, bool) {
	n, err := strconv.Atoi(f.val.text)
	if err != nil || n < 0 || n > 1<<20 || f.val.kind != number && f.val.kind != word {
		p.fault(f.val.line, "write a whole number", "%s is not a count", f.key)
		return 0, false
	}
	return n, true
}

// possible refuses what no password meets, or hardly any: a generation that
// cannot end is a mistake to be told of now.
func (p *passwordParser) possible() {
	var seen []rune
	need := 0
	for _, c := range p.out.rules {
		if c.least > p.out.length {
			p.fault(1, "raise length or lower min-chars", "a rule requires %d characters but the length is %d", c.least, p.out.length)
			return
		}
		if !slices.ContainsFunc(c.runes, func(r rune) bool { _, ok := slices.BinarySearch(seen, r); return ok }) {
			need += c.least // one character cannot meet two rules that share none
			seen = distinct(append(seen, c.runes...))
		}
	}
	if need > p.out.length {
		p.fault(1, "raise length or lower min-chars", "the rules require at least %d characters but the length is %d", need, p.out.length)
		return
	}
	if _, err := p.out.generate(rand.NewChaCha8([32]byte{1}), trials); err != nil {
		p.fault(1, "lower min-chars, or take characters out of the other charsets", "less than one in %d passwords of these characters meets the rules", trials)
	}
}

// Generate draws a password from all that meet the policy, each as likely as
// the next: one is drawn from all of that length, and drawn again until it meets
// the rules. The reader must be a cryptographic source of randomness.
func (p *Password) Generate(random io.Reader) (string, error) { return p.generate(random, attempts) }

func (p *Password) generate(random io.Reader, most int) (string, error) {
	runes := make([]rune, p.length)
	defer clear(runes)
	for range most {
		for i := range runes {
			at, err := draw(random, len(p.all))
			if err != nil {
				return "", err
			}
			runes[i] = p.all[at]
		}
		if p.meets(runes) {
			return string(runes), nil
		}
	}
	return "", ErrImprobable
}

// draw gives a number below n, which is at most 1<<31, without bias.
func draw(random io.Reader, n int) (int, error) {
	if n == 1 {
		return 0, nil
	}
	var b [4]byte
	mask := uint32(1)
	for mask < uint32(n-1) {
		mask = mask<<1 | 1
	}
	for {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, fmt.Errorf("drawing a password: %w", err)
		}
		if v := binary.LittleEndian.Uint32(b[:]) & mask; v < uint32(n) {
			return int(v), nil
		}
	}
}

func (p *Password) meets(runes []rune) bool {
	for _, c := range p.rules {
		have := 0
		for _, r := range runes {
			if _, ok := slices.BinarySearch(c.runes, r); ok {
				have++
			}
		}
		if have < c.least {
			return false
		}
	}
	return true
}
