package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// device is a sink of a test: its options in a word or two, and its output.
func device(t *testing.T, name, what string, out output) *Sink {
	t.Helper()
	s := sinkOver(name+"/", out, format{key: testKey()})
	for word := range strings.FieldsSeq(what) {
		switch word {
		case "required":
			s.delivery = required
		case "best-effort":
			s.delivery = bestEffort
		case "remote":
			s.background = true
		case "deadline":
			s.patient = true
		case "fallback":
			s.fallback = true
		case "reads", "writes":
			f, err := compileFilter(map[string]string{"reads": `operation == "read"`, "writes": `operation != "read"`}[word])
			must(t, err)
			s.filter = f
		}
	}
	return s
}

// What becomes of a request that reads, with devices of all kinds: ! is one that
// fails, and > is one that has the entry at the end.
func TestDelivery(t *testing.T) {
	for _, c := range []struct {
		devices string // each: options, comma between them
		refused bool
	}{
		{"> ", false},
		{"!", true},
		{"!, >", false},
		{"!required, >", true},
		{"!required remote, >", true},
		{"!required deadline, >", true},
		{"> required, !", false},
		{"> required, !remote", false},
		{"> required, > required remote", false},
		{"> required, !required remote", true},
		{"> required remote, > required remote, > remote", false},
		{"!best-effort, >", false},
		{"> best-effort, !", true},
		{"> best-effort, !remote", true},
		{"> best-effort, !required", true},
		{"> best-effort", false}, // the only one must have it
		{"!best-effort", true},
		{"!best-effort, > best-effort", false},
		{"> remote, !remote", false},
		{"!remote, !remote", true},
		{"> deadline, !", false},
		{"> reads, writes", false},
		{"!reads, writes", true},
		{"!reads, >", false},
		{"> writes", false}, // no filter takes it: it must be written down
		{"> writes, > writes", false},
		{"!writes", true},
		{"!required writes, >", false}, // it is not for the required one
		{"!required reads, >", true},
		{"> fallback, writes", false},
		{"fallback, > reads, writes", false},
		{"fallback, >", false},
		{"> fallback, !", false}, // what no other has taken
		{"> fallback remote, !", false},
		{"!fallback, !", true},
		{"!fallback remote, !remote", true},
		{"!required, fallback", true},
		{"> fallback", false},
		{"!fallback", true},
		{"> fallback, !best-effort", false},
	} {
		b := NewBroker()
		var sinks []*Sink
		var outs []*memory
		specs := strings.Split(c.devices, ",")
		for i, what := range specs {
			out := &memory{}
			if strings.Contains(what, "!") {
				out.err = errors.New("broken")
			}
			outs = append(outs, out)
			sinks = append(sinks, device(t, fmt.Sprint(i), strings.NewReplacer("!", "", ">", "").Replace(what), out))
		}
		b.Replace(sinks, nil)
		e := b.Entry()
		fill(e)
		e.Request.Operation = "read"
		err := b.LogRequest(t.Context(), moment, e, nil)
		if (err != nil) != c.refused {
			t.Errorf("%q: %v", c.devices, err)
		}
		if err != nil && (api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "/\" cannot be written")) {
			t.Errorf("%q: %v", c.devices, err)
		}
		for i, s := range sinks {
			must(t, s.line.close())
			if want := strings.Contains(specs[i], ">"); (outs[i].text() != "") != want {
				t.Errorf("%q: device %d has %q", c.devices, i, outs[i].text())
			}
		}
	}
}

// stuck is an output whose end waits for the write that hangs, as a file's does.
type stuck struct{ *memory }

func (s stuck) close() error {
	<-s.gate
	return nil
}

// A local device that hangs for ever, as a network file system may, costs each
// request its deadline once; where another one works, nothing.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &memory{gate: make(chan struct{})}
		s := device(t, "hung", "deadline", stuck{hung})
		s.line.patience = time.Second
		b := NewBroker()
		b.Replace([]*Sink{s}, nil)
		took := func() time.Duration {
			start := time.Now()
			if err := b.LogRequest(t.Context(), moment, b.Entry(), nil); api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), errSlow.Error()) {
				t.Error(err)
			}
			return time.Since(start)
		}
		if d := took(); d != time.Second {
			t.Errorf("the first took %v", d)
		}
		if d := took(); d != 0 {
			t.Errorf("the second took %v", d)
		}
		good := &memory{}
		g := device(t, "good", "", good)
		b.Replace([]*Sink{s, g}, nil)
		start := time.Now()
		must(t, b.LogRequest(t.Context(), moment, b.Entry(), nil))
		if d := time.Since(start); d != 0 {
			t.Errorf("beside a device that works: %v", d)
		}
		// Its removal does not hang either.
		start = time.Now()
		must(t, s.line.closeWithin(disablePause))
		if d := time.Since(start); d != disablePause {
			t.Errorf("disabled after %v", d)
		}
		close(hung.gate)
	})
}

// What was refused for its deadline may be in the log later, and a device that
// goes on is used again at once.
func TestDeadlineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &memory{gate: make(chan struct{})}
		s := device(t, "hung", "deadline", hung)
		s.line.patience = time.Second
		b := NewBroker()
		b.Replace([]*Sink{s}, nil)
		if err := b.LogRequest(t.Context(), moment, b.Entry(), nil); err == nil {
			t.Error("not refused")
		}
		close(hung.gate)
		synctest.Wait()
		must(t, b.LogRequest(t.Context(), moment, b.Entry(), nil))
		must(t, s.line.close())
		if n := strings.Count(hung.text(), "\n"); n != 2 {
			t.Errorf("%d entries", n)
		}
	})
}

// Failures and recoveries are told once each.
func TestTurnsAreReported(t *testing.T) {
	out := &memory{}
	s := device(t, "a", "", out)
	var told []string
	s.line.report = func(err error) { told = append(told, fmt.Sprint(err)) }
	b := NewBroker()
	b.Replace([]*Sink{s}, nil)
	for _, failing := range []bool{false, true, true, false, false, true} {
		out.err = nil
		if failing {
			out.err = errors.New("broken")
		}
		if err := b.LogRequest(context.Background(), moment, b.Entry(), nil); (err != nil) != failing {
			t.Error(err)
		}
	}
	if got := strings.Join(told, " "); got != "broken <nil> broken" {
		t.Error(got)
	}
}
