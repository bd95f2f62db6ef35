package audit

import (
	"context"
	"errors"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
)

// delivery is what a request's fate has to do with one sink.
type delivery uint8

const (
	anyOf      delivery = iota // it is enough that one such sink has the entry
	required                   // the request is refused unless this sink has it
	bestEffort                 // what becomes of the entry here decides nothing
)

// routing says which of a set's sinks take which entries.
type routing struct {
	plain    bool  // there is one sink, it takes all, and a request may write to it itself
	filtered bool  // some sink takes only part of the entries
	regular  []int // the sinks that are no fallback; all sinks, where there is nothing else
	fallback int   // the sink for what no other one has taken; -1: none
}

func route(sinks []*Sink) routing {
	r := routing{fallback: -1}
	for i, s := range sinks {
		if s.fallback {
			r.fallback = i
			continue
		}
		r.regular = append(r.regular, i)
		r.filtered = r.filtered || s.filter != nil
	}
	if len(r.regular) == 0 && r.fallback >= 0 {
		r.regular, r.fallback = []int{r.fallback}, -1
	}
	r.plain = len(sinks) == 1 && !r.filtered && !sinks[0].patient
	return r
}

// write returns when the entry is where it must be, or else why it is not. That
// is: in every required sink that takes it, and in at least one that is no
// best-effort one. Where all that take it are that, one of them must have it, so
// that no choice of options turns the log off.
func (s *set) write(ctx context.Context, e *Entry, kind string, failure error) error {
	if !s.plain {
		a := attempt{set: s, ctx: ctx, lines: e.lines}
		return a.run(s.choose(e, kind, failure))
	}
	if err := s.sinks[0].line.put(ctx, e.lines[0]); err != nil {
		return s.sinks[0].unavailable(err)
	}
	return nil
}

// choose are the sinks that an entry is for. One that no filter lets through is
// for the fallback, and without a fallback for all: it must be written down.
func (s *set) choose(e *Entry, kind string, failure error) []int {
	if !s.filtered {
		return s.regular
	}
	facts := factsOf(&e.Request, kind, failure)
	var chosen []int
	for _, i := range s.regular {
		if f := s.sinks[i].filter; f == nil || f.takes(facts) {
			chosen = append(chosen, i)
		}
	}
	switch {
	case len(chosen) > 0:
		return chosen
	case s.fallback >= 0:
		return []int{s.fallback}
	}
	return s.regular
}

// attempt is one entry on its way to several sinks.
type attempt struct {
	set   *set
	ctx   context.Context
	lines [][]byte

	lenient  bool     // all sinks are best-effort ones, so that one of them must do
	taken    bool     // a sink that counts has the entry
	owed     bool     // a required sink has not
	pending  []posted // what is being written in the background
	failures []error
}

// posted is an entry on its way to a sink.
type posted struct {
	sink  *Sink
	batch *batch
}

func (p posted) wait(ctx context.Context) error { return p.sink.line.wait(ctx, p.batch) }

// run gives the chosen sinks the entry. Those that may hang are waited for only
// when they are required or no other has taken it.
func (a *attempt) run(chosen []int) error {
	a.lenient = !slices.ContainsFunc(chosen, func(i int) bool { return a.set.sinks[i].delivery != bestEffort })
	for _, i := range chosen {
		if a.set.sinks[i].inBackground() {
			a.post(i)
		}
	}
	for _, i := range chosen {
		if !a.set.sinks[i].inBackground() {
			a.put(i)
		}
	}
	a.await(func(s *Sink) bool { return s.delivery == required }, true)
	if a.owed {
		return combine(a.failures)
	}
	if !a.taken {
		a.await(a.counts, false)
	}
	if !a.taken && a.set.fallback >= 0 && !slices.Contains(chosen, a.set.fallback) {
		a.fallBack()
	}
	if a.taken {
		return nil
	}
	return combine(a.failures)
}

// inBackground reports whether a sink's writes are kept out of requests' way.
func (s *Sink) inBackground() bool { return s.background || s.patient || s.delivery == bestEffort }

// counts reports whether it means something that a sink has the entry.
func (a *attempt) counts(s *Sink) bool { return s.delivery != bestEffort || a.lenient }

func (a *attempt) line(i int) []byte { return a.lines[a.set.formatOf[i]] }

// post has a sink's entry written in the background.
func (a *attempt) post(i int) {
	s := a.set.sinks[i]
	b, err := s.line.post(a.line(i))
	if err != nil {
		a.done(s, err)
		return
	}
	a.pending = append(a.pending, posted{s, b})
}

// put writes a sink's entry here and now.
func (a *attempt) put(i int) {
	s := a.set.sinks[i]
	a.done(s, s.line.put(a.ctx, a.line(i)))
}

// fallBack gives the entry to the sink for what no other has taken.
func (a *attempt) fallBack() {
	i := a.set.fallback
	s := a.set.sinks[i]
	if !s.inBackground() {
		a.put(i)
		return
	}
	a.lenient = true
	a.pending = nil
	a.post(i)
	a.await(func(*Sink) bool { return true }, true)
}

// done notes what has become of a sink's entry.
func (a *attempt) done(s *Sink, err error) {
	if err == nil {
		a.taken = a.taken || a.counts(s)
		return
	}
	a.owed = a.owed || s.delivery == required
	if a.counts(s) {
		a.failures = append(a.failures, s.unavailable(err))
	}
}

// outcome is what has become of an entry that was posted.
type outcome struct {
	sink *Sink
	err  error
}

// await waits for the pending entries of some sinks: for all of them, or until
// one has arrived.
func (a *attempt) await(which func(*Sink) bool, all bool) {
	var waiting, rest []posted
	for _, p := range a.pending {
		if which(p.sink) {
			waiting = append(waiting, p)
		} else {
			rest = append(rest, p)
		}
	}
	a.pending = rest
	if len(waiting) == 1 {
		a.done(waiting[0].sink, waiting[0].wait(a.ctx))
		return
	}
	results := make(chan outcome, len(waiting))
	for _, p := range waiting {
		go func() { results <- outcome{p.sink, p.wait(a.ctx)} }()
	}
	for range waiting {
		o := <-results
		a.done(o.sink, o.err)
		if a.taken && !all {
			return
		}
	}
}

// combine is one Unavailable error that names every sink.
func combine(failures []error) error {
	if len(failures) == 1 {
		return failures[0]
	}
	out := &api.Error{Kind: api.Unavailable, Err: errors.Join(failures...)}
	for i, err := range failures {
		var e *api.Error
		if !errors.As(err, &e) {
			continue
		}
		if i > 0 {
			out.Message += "; "
		}
		out.Message, out.Hint = out.Message+e.Message, e.Hint
	}
	return out
}
