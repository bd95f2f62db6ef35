package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificate is a listener's certificate and the authority of its clients, read
// from their files. When the files change, the next handshake reads them anew,
// and keeps what it has when they are not whole.
type certificate struct {
	listener *Listener
	current  atomic.Pointer[tls.Config]
	looked   atomic.Int64 // when the files were last looked at, in nanoseconds since 1970
	now      func() time.Time
	log      *slog.Logger

	mu   sync.Mutex // held while the files are read
	seen []stamp    // as they were when they were last read, well or not
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// lookEvery is the least time between two looks at the files.
const lookEvery = time.Second

// tls is TLS 1.3 with the groups that Go prefers, hybrid key agreement first;
// nil for a plain listener.
func (l *Listener) tls() (*tls.Config, *certificate, error) {
	if l.CertFile == "" {
		return nil, nil, nil
	}
	c := &certificate{listener: l}
	if err := c.load(); err != nil {
		return nil, nil, err
	}
	conf := c.current.Load().Clone()
	conf.GetConfigForClient = c.get
	return conf, c, nil
}

// checkCertificates reports certificates that cannot be read.
func (l Listener) checkCertificates() error {
	if _, _, err := l.tls(); err != nil {
		return fmt.Errorf("listener %q: %w", l.Address, err)
	}
	return nil
}

// watch lets handshakes look whether the files have changed. It is called before
// the first of them.
func (c *certificate) watch(log *slog.Logger, now func() time.Time) { c.log, c.now = log, now }

// load reads the files. What is not whole leaves what there is.
func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read(c.stamps())
}

func (c *certificate) read(seen []stamp) error {
	c.seen = seen
	l := c.listener
	pair, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", l.CertFile, l.KeyFile, err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if err := l.clients(conf); err != nil {
		return err
	}
	c.current.Store(conf)
	return nil
}

// get is the configuration of one handshake.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Config, error) {
	if c.now != nil {
		c.look()
	}
	return c.current.Load(), nil
}

// look reads the files when they have changed, at most once in lookEvery.
func (c *certificate) look() {
	now, last := c.now().UnixNano(), c.looked.Load()
	if now-last < int64(lookEvery) || !c.looked.CompareAndSwap(last, now) {
		return
	}
	changed, err := c.refresh()
	switch {
	case err != nil:
		c.log.Error("the changed certificate cannot be read; the one before is served on",
			slog.String("listener", c.listener.Address), slog.Any("error", err))
	case changed:
		c.log.Info("the changed certificate is served", slog.String("listener", c.listener.Address))
	}
}

// refresh reads the files unless they are as they were when last read.
func (c *certificate) refresh() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.stamps()
	for i := range now {
		changed = changed || now[i] != c.seen[i]
	}
	if !changed {
		return false, nil
	}
	return true, c.read(now)
}

// stamps are those of all files; of one that is not there, the zero stamp.
func (c *certificate) stamps() []stamp {
	files := []string{c.listener.CertFile, c.listener.KeyFile, c.listener.ClientCA}
	out := make([]stamp, len(files))
	for i, f := range files {
		if info, err := os.Stat(f); err == nil {
			out[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return out
}

// clients says which client certificates a listener asks for and takes. Without an
// authority of theirs it takes any, of which the client holds the key: auth methods
// judge it. A client that has none is served as if it had not been asked.
func (l *Listener) clients(conf *tls.Config) error {
	if l.ClientCA == "" {
		if !l.NoClientCerts {
			conf.ClientAuth = tls.RequestClientCert
		}
		return nil
	}
	pem, err := os.ReadFile(l.ClientCA)
	if err != nil {
		return err
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return errors.New(l.ClientCA + " holds no certificate")
	}
	conf.ClientAuth = tls.VerifyClientCertIfGiven
	if l.RequireClient {
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return nil
}
