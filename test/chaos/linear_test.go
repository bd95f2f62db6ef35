package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	crowd   = 12  // clients that make a history
	perKey  = 120 // what is done to a register before another takes its place
	perHaze = 5   // what may stay without an answer before that: each doubles what must be tried
)

// kinds of register.
const (
	kindVersioned = iota
	kindPlain
	kindCubbyhole
	kindEffect // whether a policy lets a token read: writing it is writing the policy
	kindToken  // whether a token lives: deleting it is revoking it
	kindCount
)

// subject is one register in the making.
type subject struct {
	kind  int
	key   string
	token string
	done  atomic.Int64
	haze  atomic.Int64
}

// play is a history in the making.
type play struct {
	id     int // among those of the fleet: each has registers of its own
	f      *fleet
	h      *history
	values atomic.Int64

	mu       sync.Mutex
	subjects [kindCount][2]*subject
	making   bool // one client makes a register; the others go on meanwhile
	made     int
}

// subject returns a register of a kind, in place of the last one when enough was done to that; nil: there is none yet.
func (p *play) subject(c *client, kind, i int) *subject {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.subjects[kind][i]
	if (s == nil || s.done.Load() > perKey || s.haze.Load() > perHaze) && !p.making {
		p.making = true
		p.mu.Unlock()
		fresh, err := p.make(c, kind)
		p.mu.Lock()
		p.making = false
		if err == nil { // else the store is away: go on with the old one, if there is one
			p.subjects[kind][i], s = fresh, fresh
		}
	}
	if s != nil {
		s.done.Add(1)
	}
	return s
}

// make begins a register.
func (p *play) make(c *client, kind int) (*subject, error) {
	p.made++
	s := &subject{kind: kind, key: fmt.Sprintf("%d-%d-%d", p.id, kind, p.made), token: p.f.root}
	switch kind {
	case kindEffect, kindToken:
		if err := c.writePolicy(s.key, true); err != nil {
			return nil, err
		}
		var made struct {
			Auth struct {
				ClientToken string `json:"client_token"`
			} `json:"auth"`
		}
		if err := c.call("POST", "auth/token/create", fmt.Sprintf(`{"no_default_policy":true,"policies":[%q],"ttl":"1h"}`, s.key), &made); err != nil {
			return nil, err
		}
		s.token = made.Auth.ClientToken
		p.h.starts(s.key, 1)
	}
	return s, nil
}

// writePolicy lets the holders read, or not.
func (c *client) writePolicy(name string, allow bool) error {
	capability := "deny"
	if allow {
		capability = "read"
	}
	text, err := json.Marshal(map[string]string{"policy": fmt.Sprintf(`path "plain/%s" { capabilities = [%q] }`, name, capability)})
	if err != nil {
		return err
	}
	return c.call("PUT", "sys/policies/acl/"+name, string(text), nil)
}

// allowed reports whether the holder of the token may read; nothing is there to be read.
func (c *client) allowed(name string) (output, error) {
	a, err := c.ask("GET", "plain/"+name, nil)
	switch {
	case err != nil:
		return output{}, err
	case a.status == http.StatusNotFound || a.status == http.StatusOK:
		return output{known: true, done: true, value: 1}, nil
	case a.status == http.StatusForbidden:
		return output{known: true, done: true}, nil
	}
	return output{}, a.unexpected()
}

// act does what is asked of a register.
func (p *play) act(c *client, s *subject, in input) (output, error) {
	switch s.kind {
	case kindVersioned:
		return c.versioned("chaos/data/"+s.key, in)
	case kindPlain:
		return c.plainRegister("plain/"+s.key, in)
	case kindCubbyhole:
		return c.plainRegister("cubbyhole/"+s.key, in)
	}
	if in.op == opGet {
		return newHolder(c, s.token).allowed(s.key)
	}
	var a answer
	var err error
	switch {
	case s.kind == kindToken:
		a, err = c.ask("POST", "auth/token/revoke", map[string]string{"token": s.token})
		if err == nil && a.status >= 400 {
			return output{}, a.unexpected()
		}
	case in.op == opDelete:
		err = c.tell(s.key, false)
	default:
		err = c.tell(s.key, true)
	}
	return output{known: err == nil, done: true}, err
}

// tell is writePolicy for a history.
func (c *client) tell(name string, allow bool) error {
	if err := c.writePolicy(name, allow); err != nil {
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	return nil
}

// choose draws what to do to a register.
func (p *play) choose(r *rand.Rand, s *subject, seen int) input {
	in := input{value: int(p.values.Add(1)), version: seen}
	switch roll := r.IntN(100); {
	case s.kind == kindToken && roll < 97:
	case s.kind == kindToken:
		in.op = opDelete
	case roll < 50:
	case s.kind == kindEffect && roll < 75, s.kind != kindVersioned && roll >= 90, s.kind == kindVersioned && roll >= 95:
		in.op = opDelete
	case s.kind == kindVersioned && roll >= 70:
		in.op = opCAS
	default:
		in.op = opPut
	}
	if s.kind == kindEffect {
		in.value = 1
	}
	return in
}

// client plays one client until stop is closed: each request goes to any node.
func (p *play) client(id int, r *rand.Rand, stop <-chan struct{}) {
	all := make([]*client, fleetSize)
	for i := range all {
		all[i] = p.f.client(i, p.f.root)
		all[i].http.Timeout = cmp.Or(p.f.hurry, 5*time.Second)
		defer all[i].http.CloseIdleConnections()
	}
	seen := map[string]int{}
	for {
		select {
		case <-stop:
			return
		default:
		}
		c := all[r.IntN(fleetSize)]
		s := p.subject(c, r.IntN(kindCount), r.IntN(2))
		if s == nil {
			<-time.After(time.Millisecond)
			continue
		}
		in := p.choose(r, s, seen[s.key])
		out := p.h.do(id, s.key, in, func() (output, error) { return p.act(c, s, in) })
		if out.version > 0 {
			seen[s.key] = out.version
		}
		if !out.known {
			if in.op != opGet {
				s.haze.Add(1)
			}
			<-time.After(25 * time.Millisecond)
		}
	}
}

// repeats is how often a trouble is repeated at most until enough was answered meanwhile.
const repeats = 10

// perform plays a history on a fleet while trouble goes on, and returns it. The trouble is repeated until so many operations
// were answered, however slow the machine: fewer show nothing.
func perform(f *fleet, s uint64, enough int, trouble func()) *history {
	f.plays++
	p := &play{id: f.plays, f: f, h: newHistory(enough)}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() { p.client(i, rand.New(rand.NewPCG(s, uint64(i))), stop) })
	}
	trouble()
	for again := 1; again < repeats && p.h.answered() < enough; again++ {
		trouble()
	}
	close(stop)
	wg.Wait()
	return p.h
}

// performUntilWrong is perform for controls: histories are played until one is such that no single copy answers it.
func performUntilWrong(f *fleet, s uint64, trouble func()) *history {
	for i := uint64(1); ; i++ {
		h := perform(f, s+i, 0, trouble)
		if illegal, _ := h.verdict(); len(illegal) > 0 || i == repeats {
			return h
		}
	}
}

// judge fails the test unless a single copy could have given every answer.
func (h *history) judge(t testing.TB) {
	t.Helper()
	illegal, unjudged := h.verdict()
	t.Logf("%d operations on %d registers, %d without an answer", h.total, len(h.logs), h.unknown)
	for _, key := range illegal[:min(2, len(illegal))] {
		t.Errorf("no single copy answers so: %s\n%s", key, h.describe(key))
	}
	for _, s := range h.surprise {
		t.Errorf("an answer that is none: %s", s)
	}
	if len(unjudged) > 0 {
		t.Errorf("could not be judged: %v", unjudged)
	}
	if known := h.answered(); known < h.enough {
		t.Errorf("only %d operations were answered: this shows nothing", known)
	}
}

// sees is the control: the check finds stale reads that are put into the history.
func (h *history) sees(t testing.TB) {
	t.Helper()
	aged := h.age()
	if illegal, _ := h.verdict(); len(aged) == 0 || len(illegal) < len(aged) {
		t.Errorf("of %d registers with a stale read the check finds %d: it sees too little", len(aged), len(illegal))
	}
}

// calm is a history without trouble.
func calm(d time.Duration) func() { return func() { <-time.After(d) } }
