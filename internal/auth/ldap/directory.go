package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"

	"github.com/go-ldap/ldap/v3"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
)

// maxHeard bounds what a directory may say over one connection, in bytes.
const maxHeard = 4 << 20

var errHeard = errors.New("the directory says more than is read of it")

// directory is a connection to one. Nothing that it refers to is followed.
type directory struct {
	ctx  context.Context
	cfg  *config
	conn *ldap.Conn
	done []func()
}

// open connects to the first server that can be reached. The whole conversation is
// bounded by the settings' timeouts and by ctx.
func (cfg *config) open(ctx context.Context) (*directory, error) {
	var failed []error
	for _, u := range cfg.servers() {
		d, err := cfg.dial(ctx, u)
		if err == nil {
			return d, nil
		}
		failed = append(failed, err)
	}
	return nil, errAway(errors.Join(failed...))
}

// errAway is what is said when a directory does not answer, whatever was asked.
func errAway(cause error) error {
	return outbound.Away(cause, "ldap operation failed: the directory does not answer", "see that the servers in the method's url can be reached, and that their certificates are valid")
}

func errRefused(what string, cause error) error {
	return &api.Error{Kind: api.Unavailable, Message: "ldap operation failed: the directory refuses " + what, Hint: "this is about the method's settings, not about the name or the password", Err: cause}
}

func (cfg *config) dial(ctx context.Context, u *url.URL) (*directory, error) {
	within, cancel := context.WithTimeout(ctx, cfg.ConnectionTimeout)
	defer cancel()
	raw, err := outbound.Dial(within, "tcp", hostPort(u))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(within, func() { raw.Close() }) // also what the library does without a deadline
	d, err := cfg.greet(within, u, &bounded{raw, maxHeard})
	if err != nil || !stop() {
		stop()
		return nil, errors.Join(err, within.Err(), raw.Close())
	}
	talk, end := context.WithTimeout(ctx, cfg.RequestTimeout)
	hangUp := context.AfterFunc(talk, func() { raw.Close() })
	d.ctx, d.done = ctx, []func(){func() { hangUp() }, end}
	return d, nil
}

// greet speaks TLS where it is asked for.
func (cfg *config) greet(ctx context.Context, u *url.URL, raw net.Conn) (*directory, error) {
	secure, err := cfg.tls(u.Hostname())
	if err != nil {
		return nil, err
	}
	encrypted := u.Scheme == "ldaps"
	if encrypted {
		c := tls.Client(raw, secure)
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		raw = c
	}
	conn := ldap.NewConn(raw, encrypted)
	conn.SetTimeout(cfg.RequestTimeout)
	conn.Start()
	if cfg.StartTLS && !encrypted {
		if err := conn.StartTLS(secure); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return &directory{cfg: cfg, conn: conn}, nil
}

func (cfg *config) tls(host string) (*tls.Config, error) {
	pool, err := outbound.Pool(cfg.Certificate)
	if err != nil {
		return nil, err
	}
	out := &tls.Config{RootCAs: pool, ServerName: host, InsecureSkipVerify: cfg.InsecureTLS, MinVersion: tlsVersion(cfg.TLSMin), MaxVersion: tlsVersion(cfg.TLSMax)}
	if cfg.ClientCert != "" {
		pair, err := tls.X509KeyPair([]byte(cfg.ClientCert), []byte(cfg.clientKey.Reveal()))
		if err != nil {
			return nil, err
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// close ends the connection. What has been learnt stands, whatever becomes of it.
func (d *directory) close() {
	for _, fn := range d.done {
		fn()
	}
	d.conn.Close()
}

// bounded is a connection of which so many bytes are read.
type bounded struct {
	net.Conn
	left int
}

// Read reads what is still allowed.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errHeard
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.Conn.Read(p)
	b.left -= n
	return n, err
}

// serve binds as the account that looks for others; without one, nobody is bound,
// and nothing is asked of the directory.
func (d *directory) serve() error {
	if d.cfg.BindDN == "" {
		return nil
	}
	err := d.conn.Bind(d.cfg.BindDN, d.cfg.bindPass.Reveal())
	if err == nil {
		return nil
	}
	if answered(err) {
		return errRefused("binddn and bindpass", err)
	}
	return errAway(err)
}

// prove reports whether a password is an account's. The password is not empty.
func (d *directory) prove(dn string, password api.Secret) (bool, error) {
	err := d.conn.Bind(dn, password.Reveal())
	switch {
	case err == nil:
		return true, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired):
		return false, errRefused("passwords over this connection: use ldaps:// or starttls", err)
	case answered(err) && !ldap.IsErrorAnyOf(err, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultProtocolError):
		return false, nil
	}
	return false, errAway(err)
}

// answered reports whether an error is a directory's answer, and not for want of one.
func answered(err error) bool {
	var e *ldap.Error
	return errors.As(err, &e) && e.ResultCode < ldap.ErrorNetwork && !errors.Is(err, io.EOF)
}

// find searches for entries. over says that there are more than limit; field is the
// setting that base comes from, and empty where base is an entry that need not exist.
func (d *directory) find(field, base string, scope int, filter string, attrs []string, limit int) (found []*ldap.Entry, over bool, err error) {
	q := ldap.NewSearchRequest(base, scope, dereference()[d.cfg.Dereference], limit, 0, false, filter, attrs, nil)
	q.EnforceSizeLimit = true
	r, err := d.conn.Search(q)
	switch {
	case err == nil:
		return r.Entries, false, nil
	case errors.Is(err, ldap.ErrSizeLimitExceeded), ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return nil, true, nil
	case answered(err) && field == "":
		return nil, false, nil
	case answered(err):
		return nil, false, errRefused("to search in "+field, err)
	}
	return nil, false, errAway(err)
}
