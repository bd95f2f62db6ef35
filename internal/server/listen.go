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
	"os"
	"sync"
)

// Serve answers on the configured listeners until ctx ends, then lets requests
// in flight finish and seals. ready is called with the addresses once all of
// them listen.
func (s *Server) Serve(ctx context.Context, ready func(addresses []string)) error {
	var listeners []net.Listener
	var addresses []string
	for i := range s.config.Listeners {
		l, err := s.config.Listeners[i].open()
		if err != nil {
			return errors.Join(err, closeAll(listeners))
		}
		listeners = append(listeners, l)
		addresses = append(addresses, s.config.Listeners[i].url(l.Addr()))
	}
	hs := &http.Server{Handler: s.door, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: log.New(httpLog{s.log}, "", 0)}
	ready(addresses)
	return s.serve(ctx, hs, listeners)
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
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if cut := hs.Shutdown(grace); cut != nil {
		err = errors.Join(err, fmt.Errorf("some requests were cut off: %w", cut), hs.Close())
	}
	work.Wait()
	return err
}

func closeAll(ls []net.Listener) error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// url is the address at which clients reach a listener.
func (l *Listener) url(a net.Addr) string {
	if l.CertFile == "" {
		return "http://" + a.String()
	}
	return "https://" + a.String()
}

func (l *Listener) open() (net.Listener, error) {
	inner, err := net.Listen("tcp", l.Address)
	if err != nil {
		return nil, fmt.Errorf("listener: %w", err)
	}
	if l.CertFile == "" {
		return inner, nil
	}
	conf, err := l.tls()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listener %s: %w", l.Address, err), inner.Close())
	}
	return tls.NewListener(inner, conf), nil
}

// tls is TLS 1.3 with the groups that Go prefers, hybrid key agreement first.
func (l *Listener) tls() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	if l.ClientCA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(l.ClientCA)
	if err != nil {
		return nil, err
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", l.ClientCA)
	}
	conf.ClientAuth = tls.VerifyClientCertIfGiven
	if l.RequireClient {
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return conf, nil
}

// httpLog takes what net/http has to say, such as failed handshakes.
type httpLog struct{ log *slog.Logger }

// Write logs one line.
func (h httpLog) Write(p []byte) (int, error) {
	h.log.Debug("http server", slog.String("message", string(p)))
	return len(p), nil
}
