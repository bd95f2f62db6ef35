package audit

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
)

// localLogs are where the syslog daemons of common systems listen.
func localLogs() []string { return []string{"/dev/log", "/var/run/syslog", "/var/run/log"} }

// peerOptions are those that say whom to connect to, and how.
func peerOptions() []string {
	return []string{"address", "socket_type", "write_timeout", "tls_ca_pem", "tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name", "spool_path", "spool_size"}
}

// dialer reads the peer's address for one of some networks, the first of which is
// used where none is named.
func (o *options) dialer(networks ...string) (d dialer, network string, err error) {
	network = cmp.Or(o.given["socket_type"], networks[0])
	if !slices.Contains(networks, network) {
		return nil, "", invalid("socket_type", "is not supported", "one of "+strings.Join(networks, ", "))
	}
	config, err := o.tls(network == "tls")
	if err != nil {
		return nil, "", err
	}
	address := o.given["address"]
	switch {
	case address == "":
		return nil, "", invalid("address", "is required", "")
	case network == "unix":
		return dialUnix([]string{"unix"}, address), network, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", invalid("address", "must be host:port", "")
	}
	if config == nil {
		return dialNet(network, address), network, nil
	}
	config.ServerName = cmp.Or(config.ServerName, host)
	return (&dialTLS{address, config}).dial, network, nil
}

func dialNet(network, address string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}

// dialUnix connects to the first of some unix sockets that takes one of some
// kinds of connection.
func dialUnix(networks []string, paths ...string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		var errs []error
		for _, path := range paths {
			for _, network := range networks {
				c, err := d.DialContext(ctx, network, path)
				if err == nil {
					return c, nil
				}
				errs = append(errs, err)
			}
		}
		return nil, errors.Join(errs...)
	}
}

// buffering has a dialer's connections hold at most some bytes on this machine that
// the peer's has not taken, or twice that, as systems count it.
func buffering(dial dialer, most int) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		under := c
		if t, ok := c.(*tls.Conn); ok {
			under = t.NetConn()
		}
		if b, ok := under.(interface{ SetWriteBuffer(int) error }); ok {
			if err := b.SetWriteBuffer(most); err != nil {
				return nil, errors.Join(err, c.Close())
			}
		}
		return c, nil
	}
}

// dialTLS connects by TCP and greets by TLS.
type dialTLS struct {
	address string
	config  *tls.Config
}

func (d *dialTLS) dial(ctx context.Context) (net.Conn, error) {
	t := tls.Dialer{Config: d.config}
	return t.DialContext(ctx, "tcp", d.address)
}

// tls reads the options on TLS; nil: it is not wanted. Files on the server may
// be named by its configuration alone: whoever else names them learns of them.
func (o *options) tls(wanted bool) (*tls.Config, error) {
	for name := range o.given {
		switch {
		case !strings.HasPrefix(name, "tls_"):
		case !wanted:
			return nil, invalid(name, "means nothing without TLS", "set socket_type=tls")
		case strings.HasSuffix(name, "_file") && !o.configured:
			return nil, invalid(name, "names a file of the server", "give tls_ca_pem, or declare the device in the server's configuration")
		}
	}
	if !wanted {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.given["tls_server_name"]}
	if err := o.authorities(config); err != nil {
		return nil, err
	}
	return config, o.clientCertificate(config)
}

// authorities reads whom the peer's certificate must be from: the system's
// authorities unless others are given.
func (o *options) authorities(config *tls.Config) error {
	name, pem := "tls_ca_pem", []byte(o.given["tls_ca_pem"])
	if file := o.given["tls_ca_file"]; file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return invalid("tls_ca_file", "cannot be read: "+cause(err), "")
		}
		name, pem = "tls_ca_file", b
	}
	if len(pem) == 0 {
		return nil
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return invalid(name, "holds no certificate", "it must be PEM")
	}
	return nil
}

// clientCertificate has the certificate read at each connection, so that a
// renewed one is used.
func (o *options) clientCertificate(config *tls.Config) error {
	cert, key := o.given["tls_cert_file"], o.given["tls_key_file"]
	if cert == "" && key == "" {
		return nil
	}
	load := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(cert, key)
		return &c, err
	}
	if _, err := load(); err != nil {
		return invalid("tls_cert_file", "cannot be used with tls_key_file: "+cause(err), "both must be PEM, and belong together")
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return nil
}

// socket reads the options of a peer that takes plain lines.
func (o *options) socket() (*socketOutput, error) {
	if err := o.known(peerOptions()...); err != nil {
		return nil, err
	}
	dial, _, err := o.dialer("tcp", "unix", "tls")
	if err != nil {
		return nil, err
	}
	timeout, err := o.timeout()
	return &socketOutput{dial: dial, timeout: timeout, now: o.env.Now}, err
}
