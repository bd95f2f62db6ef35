package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
)

// Listeners are the open addresses of a server.
type Listeners struct {
	URLs   []string // where clients reach them
	open   []net.Listener
	limits []Limits   // of those that are open
	counts []*limited // below those that are open
	certs  []*certificate
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
	inner, err := net.Listen("tcp", l.Address)
	if err != nil {
		return err
	}
	ls.URLs = append(ls.URLs, l.url(inner.Addr()))
	counts := &limited{Listener: inner, most: maxConnections, each: l.perClient(), from: map[netip.Prefix]int{}}
	ls.counts, inner = append(ls.counts, counts), counts
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
	for _, l := range ls.counts {
		l.log, l.now = s.log, s.now
	}
	s.listeners.Store(ls)
	return s.serveAll(ctx, ls)
}

// http is the HTTP server, with a bound on everything that a client can be slow
// about.
func (s *Server) http() *http.Server {
	return &http.Server{Handler: s.erasing(s.door), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		WriteTimeout: writeTimeout, HTTP2: &http.HTTP2Config{WriteByteTimeout: stuckTimeout},
		ConnState: note, MaxHeaderBytes: maxHeaderBytes, ErrorLog: log.New(httpLog{s.log}, "", 0)}
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
	case <-ctx.Done():
		s.log.Info("shutting down: requests in flight are being finished")
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

// url is the address at which clients reach a listener.
func (l *Listener) url(a net.Addr) string {
	if l.CertFile == "" {
		return "http://" + a.String()
	}
	return "https://" + a.String()
}

// certificate is a listener's certificate, read from its files.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current.Store(&pair)
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// tls is TLS 1.3 with the groups that Go prefers, hybrid key agreement first;
// nil for a plain listener.
func (l *Listener) tls() (*tls.Config, *certificate, error) {
	if l.CertFile == "" {
		return nil, nil, nil
	}
	cert := &certificate{certFile: l.CertFile, keyFile: l.KeyFile}
	if err := cert.load(); err != nil {
		return nil, nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: cert.get, NextProtos: []string{"h2", "http/1.1"}}
	return conf, cert, l.clients(conf)
}

// clients says which client certificates a listener takes.
func (l *Listener) clients(conf *tls.Config) error {
	if l.ClientCA == "" {
		return nil
	}
	pem, err := os.ReadFile(l.ClientCA)
	if err != nil {
		return err
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", l.ClientCA)
	}
	conf.ClientAuth = tls.VerifyClientCertIfGiven
	if l.RequireClient {
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return nil
}

// httpLog takes what net/http has to say, such as failed handshakes.
type httpLog struct{ log *slog.Logger }

// Write logs one line.
func (h httpLog) Write(p []byte) (int, error) {
	h.log.Debug("http server", slog.String("message", string(p)))
	return len(p), nil
}
