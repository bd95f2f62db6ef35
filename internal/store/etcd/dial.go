package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"

	"github.com/strongroom/strongroom/internal/store"
)

// Cluster says how to reach an etcd cluster that runs by itself.
type Cluster struct {
	// Endpoints are the members' client URLs. Plain HTTP is refused, except to this
	// machine and to a Unix socket, unless Plain is set.
	Endpoints []string
	// CAFile holds the certificates, in PEM, that vouch for the members; empty:
	// those of the system.
	CAFile string
	// CertFile and KeyFile are what this node shows of itself; empty: nothing.
	CertFile, KeyFile string
	// ServerName is the name that the members' certificates must have; empty: that
	// of the endpoint.
	ServerName string
	// User and Password are those of an etcd user; empty: none.
	User, Password string
	// Plain allows connections to other machines that are not encrypted.
	Plain bool
}

// Keep-alives find a connection that is dead without having been closed.
const (
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 3 * time.Second
)

// Open opens the store in a cluster that runs by itself. The context bounds only
// the opening.
func Open(ctx context.Context, c Cluster, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	secure, err := c.tls()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, TLS: secure, Username: c.User, Password: c.Password,
		DialTimeout: o.Timeout, DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(reconnect())},
		Context:     context.WithoutCancel(ctx), Logger: Zap(o.Logger),
	})
	if err != nil {
		return nil, c.away(ctx, secure, err, refused(err))
	}
	s, err := New(ctx, client, client.Close, o)
	return s, c.away(ctx, secure, err, err)
}

// away adds to an error that says no more than that nobody answered why each endpoint did not.
func (c Cluster) away(ctx context.Context, secure *tls.Config, cause, told error) error {
	if cause == nil || ctx.Err() != nil || !passing(cause) && !errors.Is(cause, store.ErrUnreachable) && !errors.Is(cause, store.ErrUnknown) {
		return told
	}
	var reasons []string
	for _, e := range c.Endpoints {
		if u, err := url.Parse(e); err == nil {
			reasons = append(reasons, e+": "+knock(ctx, u, secure))
		}
	}
	return fmt.Errorf("%w; %s", told, strings.Join(reasons, "; "))
}

// knock is how an endpoint answers to a connection.
func knock(ctx context.Context, u *url.URL, secure *tls.Config) string {
	ctx, cancel := context.WithTimeout(ctx, keepAliveTimeout)
	defer cancel()
	network, address := "tcp", u.Host
	if strings.HasPrefix(u.Scheme, "unix") {
		network, address = "unix", u.Host+u.Path
	}
	var conn net.Conn
	var err error
	if secure == nil {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
	} else {
		conn, err = (&tls.Dialer{Config: secure}).DialContext(ctx, network, address)
	}
	if err != nil {
		return err.Error()
	}
	if err := conn.Close(); err != nil {
		return err.Error()
	}
	return "takes connections, and does not answer as an etcd with a leader does; is it the client URL, and do most members run?"
}

// reconnect is how soon a lost connection is tried again: gRPC's own waits grow to two
// minutes, for which a node would be away after its etcd is back.
func reconnect() grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: keepAliveTimeout,
	}
}

// refused is the error of connecting. etcd's own text of a refused log-in stays out:
// it is made of what was sent.
func refused(err error) error {
	switch code(err) {
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.FailedPrecondition:
		return errors.New("etcd refuses the user name and password")
	}
	return fmt.Errorf("connecting to etcd: %w", err)
}

// tls is how connections are made safe; nil: they are plain, as all endpoints say.
func (c Cluster) tls() (*tls.Config, error) {
	plain, err := c.plain()
	if err != nil || plain {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		if out.RootCAs, err = readPool(c.CAFile); err != nil {
			return nil, err
		}
	}
	if c.CertFile == "" && c.KeyFile == "" {
		return out, nil
	}
	if err := CheckPair(c.CertFile, c.KeyFile); err != nil {
		return nil, err
	}
	// Read at each handshake, so that a renewed certificate is used.
	out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		return &pair, err
	}
	return out, nil
}

// Check reports what is wrong about how the cluster is reached, the files of
// certificates among it. It connects to nothing.
func (c Cluster) Check() error {
	_, err := c.tls()
	return err
}

// CheckPair reads what this node shows of itself.
func CheckPair(certFile, keyFile string) error {
	if certFile == "" || keyFile == "" {
		return errors.New("etcd: tls_cert_file and tls_key_file go together")
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		return fmt.Errorf("etcd: tls_cert_file and tls_key_file, the certificate of this node: %w", err)
	}
	return nil
}

// CheckAuthority reads what vouches for others.
func CheckAuthority(file string) error {
	_, err := readPool(file)
	return err
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("etcd: tls_ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("etcd: tls_ca_file: no certificate in PEM in %s", file)
	}
	return pool, nil
}

// plain reports whether the endpoints are unencrypted, which all or none must be.
func (c Cluster) plain() (bool, error) {
	if len(c.Endpoints) == 0 {
		return false, errors.New("etcd: no endpoints")
	}
	plain := 0
	for _, e := range c.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Host == "" && u.Path == "" || u.User != nil {
			return false, errors.New("etcd: an endpoint is not of the form https://host:port")
		}
		switch u.Scheme {
		case "https", "unixs":
			continue
		case "unix":
		case "http":
			if !c.Plain && !Loopback(u.Hostname()) {
				return false, fmt.Errorf("etcd: %s is not encrypted, and not of this machine: use https, or say that this is meant with tls_disable = true", u.Host)
			}
		default:
			return false, errors.New("etcd: an endpoint is neither https nor http nor unix")
		}
		plain++
	}
	if plain != 0 && plain != len(c.Endpoints) {
		return false, errors.New("etcd: some endpoints are encrypted and some are not")
	}
	return plain > 0, nil
}

// Loopback reports whether a host's name says that it is this machine.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
