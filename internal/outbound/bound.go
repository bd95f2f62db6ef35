package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/strongroom/strongroom/internal/api"
)

// Words of a bound that stand for more than one address.
const (
	Anywhere  = "*"       // any address, the machine's own too
	OnNetwork = "network" // what is of the network: neither this machine nor its link, nor a cloud's service for who runs on it
)

// Bound is what may be reached: some addresses, and names that are trusted whatever they stand for. A nil Bound is Anywhere.
type Bound struct {
	anywhere, network bool
	spans             []span
	named             map[string]bool // HOST:PORT
}

// span is addresses, at a port or at all.
type span struct {
	netip.Prefix
	port uint16 // 0: all
}

var errEntry = errors.New(`write each as HOST:PORT, an address or a range of addresses such as 10.0.0.0/8, "network" for all but this machine and its link, or "*" for any`)

// hostForm is a host's name.
var hostForm = api.Regexp(`^[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?$`)

// ParseBound reads what may be reached: HOST:PORT, an address, a range of addresses, OnNetwork or Anywhere. An empty
// list is nothing.
func ParseBound(list []string) (*Bound, error) {
	b := &Bound{named: map[string]bool{}}
	for _, text := range list {
		switch text = strings.ToLower(text); text {
		case Anywhere:
			b.anywhere = true
		case OnNetwork:
			b.network = true
		default:
			if !b.add(text) {
				return nil, errEntry
			}
		}
	}
	return b, nil
}

// add reports whether it has understood an entry.
func (b *Bound) add(text string) bool {
	if p, err := netip.ParsePrefix(text); err == nil {
		b.spans = append(b.spans, span{p.Masked(), 0})
		return !p.Addr().Is4In6() // in which no address lies: see reaches
	}
	if a, err := netip.ParseAddr(text); err == nil {
		b.spans = append(b.spans, spanOf(a, 0))
		return a.Zone() == ""
	}
	host, port, err := net.SplitHostPort(text)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || n == 0 {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		b.spans = append(b.spans, spanOf(a, uint16(n)))
		return a.Zone() == ""
	}
	b.named[net.JoinHostPort(host, strconv.FormatUint(n, 10))] = true
	return hostForm().MatchString(host)
}

func spanOf(a netip.Addr, port uint16) span {
	a = a.Unmap()
	return span{netip.PrefixFrom(a, a.BitLen()), port}
}

// key is what a bound is kept by in a context.
type key struct{}

// Within has what is asked for in a context stay within a bound.
func Within(ctx context.Context, b *Bound) context.Context { return context.WithValue(ctx, key{}, b) }

func boundOf(ctx context.Context) *Bound {
	b, _ := ctx.Value(key{}).(*Bound)
	return b
}

// forbidden is why something may not be reached.
type forbidden string

// Error is the reason.
func (f forbidden) Error() string { return string(f) }

const (
	errForbidden = forbidden("is none of those that auth methods of namespaces may reach")
	errProxied   = forbidden("is behind a proxy, through which auth methods of namespaces reach what is named as HOST:PORT alone")
)

// remedy is what the operator can do about it.
const remedy = "the operator says which they are: auth_namespace_peers in the server's configuration"

// Forbidden is the answer to who would reach what a bound does not let them, Invalid, where an error is of that; else nil.
// It tells the operator's setting, and not the address.
func Forbidden(err error) *api.Error {
	var f forbidden
	if !errors.As(err, &f) {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Message: "the address " + f.Error(), Hint: remedy, Err: err}
}

// Away is the answer where somebody could not be asked: that they are Unavailable, in some words, or Forbidden.
func Away(err error, message, hint string) *api.Error {
	if f := Forbidden(err); f != nil {
		return f
	}
	return &api.Error{Kind: api.Unavailable, Message: message, Hint: hint, Err: err}
}

// free reports whether HOST:PORT may be reached whatever it stands for.
func (b *Bound) free(address string) bool {
	return b == nil || b.anywhere || b.named[strings.ToLower(address)]
}

// Dial connects to HOST:PORT, within the context's bound. That is judged by the address that is connected to, whatever
// a name stood for before.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return boundOf(ctx).dial(ctx, network, address)
}

func (b *Bound) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{}
	if !b.free(address) {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			if at, err := netip.ParseAddrPort(address); err != nil || !b.reaches(at) {
				return errForbidden
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

// Judge refuses what a field of a request names, HOST:PORT, where it can be told already that Dial will: it returns Invalid.
// What a name stands for is not known before.
func Judge(ctx context.Context, field, address string) error {
	if boundOf(ctx).judge(address) {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Message: field + ": " + errForbidden.Error(), Hint: remedy}
}

// JudgeURL is Judge of where a URL with http or https leads.
func JudgeURL(ctx context.Context, field, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return api.Errorf(api.Invalid, "%s: %v", field, errAddress)
	}
	return Judge(ctx, field, hostPort(u))
}

// judge reports whether it may be that HOST:PORT can be reached.
func (b *Bound) judge(address string) bool {
	if b.free(address) {
		return true
	}
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil {
		return false
	}
	if host = strings.ToLower(strings.TrimSuffix(host, ".")); host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761, section 6.3
		host = "127.0.0.1"
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return b.reaches(netip.AddrPortFrom(a, uint16(n)))
	}
	return b.network || len(b.spans) > 0
}

// hostPort is where a URL leads, with the port of its scheme where it has none.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		if port = "443"; u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// reaches reports whether an address may be reached.
func (b *Bound) reaches(at netip.AddrPort) bool {
	a := at.Addr().Unmap().WithZone("")
	if b.network && !isOurs(a) {
		return true
	}
	for _, s := range b.spans {
		if s.Contains(a) && (s.port == 0 || s.port == at.Port()) {
			return true
		}
	}
	return false
}

// isOurs reports whether an address is this machine, all on its link, or a service that a cloud has for who runs on it,
// which hands out credentials to whoever can ask.
func isOurs(a netip.Addr) bool {
	a = translated(a)
	if a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return true
	}
	for _, text := range []string{
		"0.0.0.0/8", "255.255.255.255/32", // this machine and this link (RFC 6890)
		"fd00:ec2::/32",      // Amazon: instance metadata and pod identity over IPv6
		"fd20:ce::254/128",   // Google: instance metadata over IPv6
		"168.63.129.16/32",   // Azure: the host's agent
		"100.100.100.200/32", // Alibaba: instance metadata
		"192.0.0.192/32",     // Oracle: instance metadata, the older
	} {
		if netip.MustParsePrefix(text).Contains(a) {
			return true
		}
	}
	return false
}

// translated is the IPv4 address that an IPv6 address leads to by translation (RFC 6052, the well-known prefix; RFC 3056);
// others as they are.
func translated(a netip.Addr) netip.Addr {
	b := a.As16()
	switch {
	case a.Is4():
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}

var errProxy = errors.New("the proxy that the environment names is no address") // which may have a password in it

// route is how a request is sent, within the context's bound: the proxy, if it goes through one, and what to connect by. The
// proxy is the operator's, and is not judged. It finds the address itself, so that what is asked through it is judged by its name.
func (p Peer) route(r *http.Request) (*url.URL, func(context.Context, string, string) (net.Conn, error), error) {
	through := p.proxy
	if through == nil {
		through = http.ProxyFromEnvironment
	}
	b, to := boundOf(r.Context()), hostPort(r.URL)
	via, err := through(r)
	switch {
	case err != nil:
		return nil, nil, errProxy
	case via == nil:
		return nil, b.dial, nil
	case b.free(to):
	default:
		at, err := netip.ParseAddrPort(to)
		switch {
		case err != nil:
			return nil, nil, errProxied
		case !b.reaches(at):
			return nil, nil, errForbidden
		}
	}
	return via, (&net.Dialer{}).DialContext, nil
}
