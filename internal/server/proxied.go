package server

import (
	"net"

	"github.com/pires/go-proxyproto"
)

// behindProxy takes the address of a client from the PROXY header, version 1 or
// 2, that a proxy sends ahead of it
// (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt). A proxy may leave
// the header out, as its health checks do.
func (l *Listener) behindProxy(inner net.Listener) net.Listener {
	return &proxiedListener{&proxyproto.Listener{Listener: inner, ReadHeaderTimeout: headerTimeout, ConnPolicy: l.proxyPolicy}}
}

// proxyPolicy says what a header counts that comes from an address.
func (l *Listener) proxyPolicy(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
	tcp, ok := o.Upstream.(*net.TCPAddr)
	switch {
	case l.ProxyProtocol == proxyAlways, ok && contains(l.ProxyFrom, tcp.AddrPort().Addr()):
		return proxyproto.USE, nil
	case l.ProxyProtocol == proxyAllow:
		return proxyproto.IGNORE, nil
	}
	return proxyproto.REJECT, proxyproto.ErrInvalidUpstream
}

// proxiedListener makes its connections ones that can be closed by half.
type proxiedListener struct{ net.Listener }

// Accept waits for a connection. Its header has not been read then.
func (l *proxiedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if p, ok := c.(*proxyproto.Conn); ok {
		return &proxied{p}, err
	}
	return c, err
}

// proxied is a connection whose client's address a proxy tells.
type proxied struct{ *proxyproto.Conn }

// CloseWrite ends what is sent; see counted.
func (p *proxied) CloseWrite() error {
	if k := countedOf(p); k != nil {
		return k.CloseWrite()
	}
	return nil
}
