package server

import (
	"net"

	"github.com/pires/go-proxyproto"
)

// proxiedListener takes the address of a client from the PROXY header, version 1
// or 2, that a proxy sends ahead of it
// (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt). A proxy may leave
// the header out, as its health checks do.
type proxiedListener struct {
	net.Listener
	by *Listener
}

// behindProxy is a listener whose clients come through a proxy.
func (l *Listener) behindProxy(inner net.Listener) net.Listener {
	return &proxiedListener{inner, l}
}

// Accept waits for a connection. Its header has not been read then, so that who
// sends none holds up nobody else.
func (p *proxiedListener) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		policy, welcome := p.by.proxyPolicy(c.RemoteAddr())
		if welcome {
			return &proxied{proxyproto.NewConn(c, proxyproto.WithPolicy(policy), proxyproto.SetReadHeaderTimeout(headerTimeout))}, nil
		}
		c.Close() // nothing was said on it
	}
}

// proxyPolicy says what a header counts that comes from an address, and whether
// connections from there are taken.
func (l *Listener) proxyPolicy(from net.Addr) (policy proxyproto.Policy, welcome bool) {
	tcp, ok := from.(*net.TCPAddr)
	switch {
	case l.ProxyProtocol == proxyAlways, ok && contains(l.ProxyFrom, tcp.AddrPort().Addr()):
		return proxyproto.USE, true
	case l.ProxyProtocol == proxyAllow:
		return proxyproto.IGNORE, true
	}
	return proxyproto.REJECT, false
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
