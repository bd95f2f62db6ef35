package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Listeners are the open addresses of a server.
type Listeners struct {
	URLs   []string // where clients reach them
	open   []net.Listener
	limits []Limits   // of those that are open
	counts []*limited // below those that are open
	certs  []*certificate

	watched bool // log and clock have been handed out
}

// Listen opens the configured addresses, all or none.
func Listen(c *Config) (*Listeners, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	ls := &Listeners{}
	for i := range c.Listeners {
		if err := ls.add(&c.Listeners[i]); err != nil {
			return nil, errors.Join(fmt.Errorf("listener %s: %w", c.Listeners[i].Address, err), ls.Close())
		}
	}
	return ls, nil
}

func (ls *Listeners) add(l *Listener) error {
	conf, cert, err := l.tls()
	if err != nil {
		return err
	}
	inner, err := l.open()
	if err != nil {
		return err
	}
	ls.URLs = append(ls.URLs, l.url(inner.Addr()))
	counts := &limited{Listener: inner, most: maxConnections, each: l.perClient(), proxies: l.proxies(), from: map[netip.Prefix]int{}, listener: l}
	ls.counts, inner = append(ls.counts, counts), counts
	if l.ProxyProtocol != "" {
		inner = l.behindProxy(inner)
	}
	if conf != nil {
		ls.certs, inner = append(ls.certs, cert), tls.NewListener(inner, conf)
	}
	ls.open, ls.limits = append(ls.open, inner), append(ls.limits, l.Limits)
	return nil
}

// Close closes the addresses.
func (ls *Listeners) Close() error {
	var errs []error
	for _, l := range ls.open {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// watch has the listeners tell log of what they refuse, and of certificates that
// change.
func (ls *Listeners) watch(log *slog.Logger, now func() time.Time) {
	if ls.watched {
		return
	}
	ls.watched = true
	for _, l := range ls.counts {
		l.log, l.now = log, now
	}
	for _, c := range ls.certs {
		c.watch(log, now)
	}
}

// Reload reads the certificates anew. One that cannot be read stays as it is.
func (ls *Listeners) Reload() error {
	var errs []error
	for _, c := range ls.certs {
		errs = append(errs, c.load())
	}
	return errors.Join(errs...)
}

// Serve answers on the listeners until ctx ends, then lets requests in flight
// finish. It closes the listeners.
func (s *Server) Serve(ctx context.Context, ls *Listeners) error {
	ls.watch(s.log, s.now)
	s.listeners.Store(ls)
	s.log.Info("the server serves", slog.Any("listeners", ls.URLs))
	return s.serveAll(ctx, ls)
}

// http is the HTTP server, with a bound on everything that a client can be slow
// about.
func (s *Server) http() *http.Server {
	return &http.Server{Handler: s.erasing(s.parting(s.front(s.door))), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		WriteTimeout: writeTimeout, HTTP2: &http.HTTP2Config{WriteByteTimeout: stuckTimeout},
		ConnState: note, ConnContext: within, MaxHeaderBytes: maxHeaderBytes, ErrorLog: log.New(httpLog{s.log}, "", 0)}
}

func (s *Server) serve(ctx context.Context, hs *http.Server, listeners []net.Listener) error {
	failed := make(chan error, len(listeners))
	var work sync.WaitGroup
	for _, l := range listeners {
		work.Go(func() {
			if err := hs.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("listener %s: %w", l.Addr(), err)
			}
		})
	}
	var err error
	select {
	case err = <-failed:
	case err = <-s.fatal:
	case <-ctx.Done():
		s.log.Info("shutting down: requests in flight are being finished")
		s.drain()
	}
	s.gate.EndStreams()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if cut := hs.Shutdown(grace); cut != nil {
		err = errors.Join(err, fmt.Errorf("some requests were cut off: %w", cut), hs.Close())
	}
	work.Wait()
	return err
}

// drainTime is how long clients that keep connections open have to hear that the
// server ends, and then those that were just making one. drainStep is how often it is
// looked whether all have gone.
const (
	drainTime = time.Second
	drainStep = 10 * time.Millisecond
	// handshakeTime is how long connections that are being made may take.
	handshakeTime = 100 * time.Millisecond
)

// drain answers on, and closes each connection with its next answer: net/http
// drops a request that arrives once it has been told to end. Health says meanwhile
// that the node is to be left out.
func (s *Server) drain() {
	s.draining.Store(true)
	s.awaitParting()
	if ls := s.listeners.Load(); ls != nil {
		s.deafen(ls)
	}
	<-time.After(handshakeTime)
	s.awaitParting()
}

func (s *Server) deafen(ls *Listeners) {
	for _, l := range ls.counts {
		if err := deafen(l.Listener); err != nil {
			s.log.Debug("the listener closes with connections that wait", slog.Any("error", err))
		}
	}
}

// awaitParting waits until no connection is open, for a while.
func (s *Server) awaitParting() {
	t := time.NewTicker(drainStep)
	defer t.Stop()
	for range drainTime / drainStep {
		if s.connections() == 0 {
			return
		}
		<-t.C
	}
}

// connections is how many are open on the configured listeners.
func (s *Server) connections() (n int) {
	ls := s.listeners.Load()
	if ls == nil { // the listener is not one of the configuration
		return 0
	}
	for _, l := range ls.counts {
		n += l.count()
	}
	return n
}

// parting is the handler of a server that may be about to end.
func (s *Server) parting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// httpLog takes what net/http has to say, such as failed handshakes.
type httpLog struct{ log *slog.Logger }

// Write logs one line.
func (h httpLog) Write(p []byte) (int, error) {
	h.log.Debug("http server", slog.String("message", string(p)))
	return len(p), nil
}
