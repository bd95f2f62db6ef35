// Package profile owns what the Go runtime tells of the running process:
// profiles, traces and symbols, for those who look for the cause of a slow or
// large server. Profiles hold names of functions and numbers, never the contents
// of memory; they need sudo nevertheless, since taking one costs the server.
package profile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// Bounds and defaults of what takes time.
const (
	defaultProfile = 30 * time.Second
	defaultTrace   = time.Second
	longest        = 5 * time.Minute
)

// Profiler answers with profiles. Its zero value is ready.
type Profiler struct {
	busy atomic.Bool // a profile of the processor or a trace is being taken
}

// Routes are the endpoints under sys/ for profiles, which go tool pprof and go
// tool trace read.
func Routes() []api.Route[*Profiler] {
	const need = api.Sudo | api.RootOnly
	return []api.Route[*Profiler]{
		api.Handle(api.Read, "pprof", (*Profiler).index, need),
		api.Handle(api.Read, "pprof/allocs", (*Profiler).allocs, need),
		api.Handle(api.Read, "pprof/block", (*Profiler).block, need),
		api.Handle(api.Read, "pprof/cmdline", (*Profiler).cmdline, need),
		api.Handle(api.Read, "pprof/goroutine", (*Profiler).goroutine, need),
		api.Handle(api.Read, "pprof/heap", (*Profiler).heap, need),
		api.Handle(api.Read, "pprof/mutex", (*Profiler).mutex, need),
		api.Handle(api.Read, "pprof/profile", (*Profiler).profile, need),
		api.Handle(api.Read, "pprof/symbol", (*Profiler).symbol, need),
		api.Handle(api.Read, "pprof/threadcreate", (*Profiler).threadcreate, need),
		api.Handle(api.Read, "pprof/trace", (*Profiler).trace, need),
	}
}

// index lists the profiles there are, with how many samples each holds.
func (p *Profiler) index(*api.Call, *api.None) (*api.Raw, error) {
	var b bytes.Buffer
	b.WriteString("Profiles are below sys/pprof/; debug=1 gives a profile as text, and seconds=N is how long a\nprofile of the processor or a trace takes.\n\n")
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		fmt.Fprintf(&b, "%8d  %s\n", pprof.Lookup(name).Count(), name)
	}
	for _, name := range []string{"cmdline", "profile", "symbol", "trace"} {
		fmt.Fprintf(&b, "%8s  %s\n", "", name)
	}
	return text(b.Bytes()), nil
}

func text(b []byte) *api.Raw {
	return &api.Raw{ContentType: "text/plain; charset=utf-8", Body: b}
}

func binary(b []byte) *api.Raw {
	return &api.Raw{ContentType: "application/octet-stream", Body: b}
}

// Request says in which form a profile is wanted.
type Request struct {
	Debug int  `json:"debug"` // 0: for go tool pprof; 1 or more: as text.
	GC    bool `json:"gc"`    // Collect garbage first, so that a heap profile is of this moment.
}

func (p *Profiler) lookup(name string, q *Request) (*api.Raw, error) {
	if q.GC && name == "heap" {
		runtime.GC()
	}
	var b bytes.Buffer
	if err := pprof.Lookup(name).WriteTo(&b, min(max(q.Debug, 0), 2)); err != nil {
		return nil, fmt.Errorf("writing the profile %s: %w", name, err)
	}
	if q.Debug > 0 {
		return text(b.Bytes()), nil
	}
	return binary(b.Bytes()), nil
}

// allocs is a sample of all past allocations of memory.
func (p *Profiler) allocs(_ *api.Call, q *Request) (*api.Raw, error) { return p.lookup("allocs", q) }

// block is where goroutines waited for each other.
func (p *Profiler) block(_ *api.Call, q *Request) (*api.Raw, error) { return p.lookup("block", q) }

// goroutine is where each goroutine is.
func (p *Profiler) goroutine(_ *api.Call, q *Request) (*api.Raw, error) {
	return p.lookup("goroutine", q)
}

// heap is a sample of the memory in use.
func (p *Profiler) heap(_ *api.Call, q *Request) (*api.Raw, error) { return p.lookup("heap", q) }

// mutex is who held the locks that others waited for.
func (p *Profiler) mutex(_ *api.Call, q *Request) (*api.Raw, error) { return p.lookup("mutex", q) }

// threadcreate is what led to new threads of the operating system.
func (p *Profiler) threadcreate(_ *api.Call, q *Request) (*api.Raw, error) {
	return p.lookup("threadcreate", q)
}

// cmdline names the program. Its arguments are left out: the root token of a
// development server may be among them.
func (p *Profiler) cmdline(*api.Call, *api.None) (*api.Raw, error) {
	return text([]byte(filepath.Base(os.Args[0]))), nil
}

// SymbolRequest names program counters.
type SymbolRequest struct {
	Counters string `json:"counters"` // Program counters in hexadecimal (0x...), joined by +.
}

// maxCounters is how many program counters are looked up at once.
const maxCounters = 4096

// symbol names the functions at program counters; without any, it says that it
// can.
func (p *Profiler) symbol(_ *api.Call, q *SymbolRequest) (*api.Raw, error) {
	b := []byte("num_symbols: 1\n")
	for i, word := range strings.FieldsFunc(q.Counters, func(r rune) bool { return r == '+' || r == ' ' }) {
		pc, err := strconv.ParseUint(word, 0, 64)
		if err != nil || i == maxCounters {
			return nil, api.Errorf(api.Invalid, "counters: must be up to %d numbers such as 0x46a4a5, joined by +", maxCounters)
		}
		if f := runtime.FuncForPC(uintptr(pc)); f != nil {
			b = fmt.Appendf(b, "%#x %s\n", pc, f.Name())
		}
	}
	return text(b), nil
}

// TimedRequest says for how long to watch.
type TimedRequest struct {
	Seconds *float64 `json:"seconds"` // For how long, in seconds; up to 300.
}

func (q *TimedRequest) span(absent time.Duration) (time.Duration, error) {
	if q.Seconds == nil || *q.Seconds == 0 {
		return absent, nil
	}
	if s := *q.Seconds; !(s > 0 && s <= longest.Seconds()) {
		return 0, api.Errorf(api.Invalid, "seconds: must be more than 0 and at most %d", int(longest.Seconds()))
	}
	return time.Duration(*q.Seconds * float64(time.Second)), nil
}

func errBusy() error {
	return &api.Error{Kind: api.TooMany, Message: "a profile or trace is being taken already", Hint: "try again when it has ended"}
}

// profile watches the processor for a while, 30 seconds unless told otherwise.
func (p *Profiler) profile(c *api.Call, q *TimedRequest) (*api.Raw, error) {
	span, err := q.span(defaultProfile)
	if err != nil {
		return nil, err
	}
	if !p.busy.CompareAndSwap(false, true) {
		return nil, errBusy()
	}
	defer p.busy.Store(false)
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		return nil, fmt.Errorf("starting a profile: %w", err)
	}
	wait(c, span)
	pprof.StopCPUProfile()
	return binary(b.Bytes()), c.Err()
}

// wait waits for a while, or for the end of what is waited for.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// trace follows the execution of the program for a while, a second unless told
// otherwise. What it gathers is sent at once: it has no bound that memory has.
func (p *Profiler) trace(_ *api.Call, q *TimedRequest) (*api.Raw, error) {
	span, err := q.span(defaultTrace)
	if err != nil {
		return nil, err
	}
	if p.busy.Load() || trace.IsEnabled() {
		return nil, errBusy()
	}
	return &api.Raw{ContentType: "application/octet-stream", Stream: func(ctx context.Context, w io.Writer) error {
		if !p.busy.CompareAndSwap(false, true) {
			return errBusy()
		}
		defer p.busy.Store(false)
		if err := trace.Start(w); err != nil {
			return fmt.Errorf("starting a trace: %w", err)
		}
		wait(ctx, span)
		trace.Stop()
		return nil
	}}, nil
}
