package server

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// early answers on the listeners while the node waits for others, before there is a
// server. It is not begun for a node that need not wait.
type early struct {
	listeners *Listeners
	log       *slog.Logger
	now       func() time.Time
	reason    atomic.Pointer[string]
	server    *http.Server // nil: it has not begun
	work      sync.WaitGroup
}

// partTime is how long answers under way may take when the server takes over.
const partTime = time.Second

// openAnswering is open on listeners that are answered on while it takes long.
func (f *flags) openAnswering(ctx context.Context, c *Config, log *slog.Logger, ls *Listeners, out io.Writer) (*Server, error) {
	e := &early{listeners: ls, log: log, now: time.Now}
	if c.Shared != nil && c.Shared.Member != nil {
		c.Shared.Member.Waits = e.tell
	}
	s, err := f.open(ctx, c, log, out, time.Now)
	if left := e.end(); err == nil && left != nil {
		return nil, errors.Join(left, s.Close())
	}
	return s, err
}

// tell answers from now on with what is waited for.
func (e *early) tell(reason string) {
	if was := e.reason.Swap(&reason); was == nil || *was != reason {
		e.log.Info("this node does not serve yet", slog.String("reason", reason))
	}
	if e.server == nil {
		e.begin()
	}
}

// begin serves on all listeners. Each answer ends its connection, so that none is left
// when the server takes over.
func (e *early) begin() {
	e.listeners.watch(e.log, e.now)
	e.server = &http.Server{Handler: http.HandlerFunc(e.answer), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: headerTimeout,
		ConnState: note, ConnContext: within, MaxHeaderBytes: maxHeaderBytes, ErrorLog: log.New(httpLog{e.log}, "", 0)}
	e.server.SetKeepAlivesEnabled(false)
	for _, l := range e.listeners.open {
		e.work.Go(func() {
			if err := e.server.Serve(onLoan{l, e.listeners}); !errors.Is(err, http.ErrServerClosed) {
				e.log.Warn("a listener is not answered on while this node waits", slog.Any("error", err))
			}
		})
	}
}

// answer says what is waited for: nothing that is asked has been done.
func (e *early) answer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	refuse(w, http.StatusServiceUnavailable, "this node does not serve yet: "+*e.reason.Load())
}

// end lets go of the listeners, which stay open.
func (e *early) end() error {
	if e.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), partTime)
	defer cancel()
	err := e.server.Shutdown(ctx)
	if err != nil {
		err = e.server.Close()
	}
	e.work.Wait()
	return errors.Join(err, e.listeners.wake(time.Time{}))
}

// onLoan is a listener that is given back: closing it ends only who waits in Accept.
type onLoan struct {
	net.Listener
	of *Listeners
}

// Close implements net.Listener. The HTTP server knows by now that it ends, and takes
// what Accept returns for that.
func (l onLoan) Close() error { return l.of.wake(time.Unix(1, 0)) }

// wake has all waits for connections end at a time; the zero time: never.
func (ls *Listeners) wake(at time.Time) error {
	var errs []error
	for _, l := range ls.counts {
		if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
			errs = append(errs, d.SetDeadline(at))
		}
	}
	return errors.Join(errs...)
}

// endedEarly is how a start ends that was told to: it is no mistake.
func endedEarly(ctx context.Context, log *slog.Logger, err error) error {
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("the server was told to end before it served", slog.Any("while", err))
	return nil
}
