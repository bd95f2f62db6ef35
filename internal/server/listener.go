package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Listener is one address that is served.
type Listener struct {
	Address  string // HOST:PORT, or the path of a unix socket
	Unix     bool   // the address is a path
	CertFile string
	KeyFile  string
	ClientCA string // certificates of clients are asked for and checked against it
	Plain    bool   // no TLS, said so explicitly

	RequireClient bool // refuse clients without a certificate of ClientCA
	NoClientCerts bool // ask no client for a certificate
	Limits        Limits
	PerClient     int // connections that one client may have open at once; 0: a quarter of all

	SocketMode  os.FileMode // of a unix socket; 0: the owner's alone
	SocketUser  string      // name or number of its owner; empty: who runs the server
	SocketGroup string      // name or number of its group

	ProxyProtocol string         // use_always, allow_authorized or deny_unauthorized; empty: not spoken
	ProxyFrom     []netip.Prefix // whose PROXY headers count

	Forwarded Forwarded

	Headers ResponseHeaders // that its answers carry besides; nil: none

	OpenMetrics bool // sys/metrics needs no token
	NoMetrics   bool // sys/metrics is not served
	OnlyMetrics bool // nothing else is served
}

// Forwarded says whose X-Forwarded-For is believed. The zero Forwarded believes
// nobody's.
type Forwarded struct {
	From         []netip.Prefix // proxies whose header counts; empty: the header is ignored
	Hops         int            // how many of the last addresses are proxies too
	AllowOthers  bool           // who is no proxy is served under its own address, and not refused
	AllowMissing bool           // so is a request without the header
}

// ResponseHeaders are header values by status ("200"), class ("2xx") or "default",
// and by name.
type ResponseHeaders map[string]http.Header

// What proxy_protocol_behavior may be.
const (
	proxyAlways = "use_always"
	proxyAllow  = "allow_authorized"
	proxyDeny   = "deny_unauthorized"
)

// perClient is how many connections one client may have open at once.
func (l *Listener) perClient() int {
	if l.PerClient == 0 {
		return max(maxConnections/4, 64)
	}
	return l.PerClient
}

// proxies are the addresses that speak for many clients.
func (l *Listener) proxies() []netip.Prefix {
	return slices.Concat(l.ProxyFrom, l.Forwarded.From)
}

// contains reports whether an address lies in one of some networks.
func contains(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// problems is everything that is wrong with a listener by itself.
func (l *Listener) problems() []error {
	var out []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Errorf("listener %q: %s", l.Address, fmt.Sprintf(format, args...)))
		}
	}
	_, _, err := net.SplitHostPort(l.Address)
	wrong(!l.Unix && err != nil, "the address must be HOST:PORT")
	wrong(l.Unix && l.Address == "", "a unix socket needs address, the path of the socket")
	wrong(!l.Unix && (l.SocketMode != 0 || l.SocketUser != "" || l.SocketGroup != ""), "socket_mode, socket_user and socket_group are for listener \"unix\"")
	wrong(l.Unix && l.ProxyProtocol != "", "proxy_protocol_behavior is for listener \"tcp\"")
	wrong(l.Unix && len(l.Forwarded.From) > 0, "x_forwarded_for_authorized_addrs is for listener \"tcp\": who connects to a unix socket has no address")
	wrong(l.PerClient < 0 || l.PerClient > maxConnections, "max_connections_per_client: must be from 1 to %d", maxConnections)
	wrong((l.ProxyProtocol == proxyAllow || l.ProxyProtocol == proxyDeny) && len(l.ProxyFrom) == 0, "proxy_protocol_behavior = %q needs proxy_protocol_authorized_addrs", l.ProxyProtocol)
	wrong(l.ProxyProtocol == "" && len(l.ProxyFrom) > 0, "proxy_protocol_authorized_addrs needs proxy_protocol_behavior")
	wrong(l.NoMetrics && (l.OpenMetrics || l.OnlyMetrics), "telemetry: disallow_metrics contradicts its other settings; leave one out")
	l.tlsProblems(wrong)
	return out
}

// tlsProblems tells wrong what is wrong about certificates.
func (l *Listener) tlsProblems(wrong func(bool, string, ...any)) {
	wrong((l.CertFile == "") != (l.KeyFile == ""), "tls_cert_file and tls_key_file go together")
	wrong(l.CertFile != "" && l.Plain, "tls_disable contradicts tls_cert_file; leave one out")
	wrong(l.RequireClient && l.ClientCA == "", "tls_require_and_verify_client_cert needs tls_client_ca_file")
	wrong(l.NoClientCerts && l.ClientCA != "", "tls_disable_client_certs contradicts tls_client_ca_file; leave one out")
	wrong(l.CertFile == "" && l.KeyFile == "" && l.ClientCA != "", "tls_client_ca_file needs tls_cert_file and tls_key_file")
	wrong(l.CertFile == "" && l.KeyFile == "" && !l.Plain && !l.Unix && addressed(l.Address) && !loopback(l.Address),
		"an address that others can reach needs TLS; give tls_cert_file and tls_key_file, or tls_disable = true to say that plain HTTP is meant")
}

func addressed(address string) bool {
	_, _, err := net.SplitHostPort(address)
	return err == nil
}

// url is the address at which clients reach a listener.
func (l *Listener) url(a net.Addr) string {
	switch {
	case l.Unix:
		return "unix://" + l.Address
	case l.CertFile == "":
		return "http://" + a.String()
	}
	return "https://" + a.String()
}

// kind is what the configuration calls such a listener.
func (l *Listener) kind() string {
	if l.Unix {
		return "unix"
	}
	return "tcp"
}

// open begins to listen.
func (l *Listener) open() (net.Listener, error) {
	if l.Unix {
		return l.openSocket()
	}
	return listenTCP(l.Address)
}

// listenTCP listens without Multipath TCP, which net.Listen asks for and which
// knows no socket filters: deafen needs them.
func listenTCP(address string) (net.Listener, error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	return c.Listen(context.Background(), "tcp", address)
}

// parsePrefixes reads networks, or addresses that stand for themselves.
func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, t := range texts {
		t = strings.TrimSpace(t)
		if a, err := netip.ParseAddr(t); err == nil {
			a = a.Unmap()
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(t)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", t)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// reserved reports whether a header is the server's own to set.
func reserved(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "X-Request-Id", "Date":
		return true
	}
	return strings.HasPrefix(name, "X-Vault-")
}

var errStatus = errors.New(`must be "default", a class such as "2xx", or a status such as "404"`)

// checkStatus is nil for what ResponseHeaders may have as a key.
func checkStatus(key string) error {
	if key == "default" {
		return nil
	}
	if class, ok := strings.CutSuffix(key, "xx"); ok && len(class) == 1 && class[0] >= '1' && class[0] <= '5' {
		return nil
	}
	if n, err := strconv.Atoi(key); err != nil || n < 100 || n > 599 {
		return errStatus
	}
	return nil
}

// apply gives an answer of a status its headers.
func (h ResponseHeaders) apply(to http.Header, status int) {
	code := strconv.Itoa(status)
	for _, key := range []string{"default", code[:1] + "xx", code} {
		for name, values := range h[key] {
			to[name] = values
		}
	}
}
