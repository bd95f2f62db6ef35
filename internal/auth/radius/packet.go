package radius

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"net"
	"syscall"
	"time"

	wire "layeh.com/radius"
	"layeh.com/radius/rfc2865"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
)

// Attributes that are not in RFC 2865.
const (
	typeMessageAuthenticator wire.Type = 80 // RFC 3579, section 3.2
	typeNASIPv6Address       wire.Type = 95 // RFC 3162, section 2.1
)

// request is an Access-Request on its way.
type request struct {
	secret   []byte
	packet   []byte // as it is sent
	unproved bool   // an answer needs no Message-Authenticator
	unsigned bool   // an answer came that should have had one, and had none
}

// newRequest makes a request that asks whether a password is an account's. from is the
// address that it is sent from.
func newRequest(cfg *config, name string, password api.Secret, from net.IP) (*request, error) {
	r := &request{secret: []byte(cfg.secret.Reveal()), unproved: cfg.Unproved}
	p := wire.New(wire.CodeAccessRequest, r.secret)
	hidden, err := wire.NewUserPassword([]byte(password.Reveal()), r.secret, p.Authenticator[:])
	if err != nil {
		return nil, err
	}
	p.Add(typeMessageAuthenticator, make([]byte, md5.Size)) // the first, as servers that care want it
	p.Add(rfc2865.UserName_Type, wire.Attribute(name))
	p.Add(rfc2865.UserPassword_Type, hidden)
	p.Add(rfc2865.NASPort_Type, wire.NewInteger(uint32(cfg.NASPort)))
	four, six := from.To4(), from.To16()
	switch {
	case cfg.NASID != "":
		p.Add(rfc2865.NASIdentifier_Type, wire.Attribute(cfg.NASID))
	case four != nil:
		p.Add(rfc2865.NASIPAddress_Type, wire.Attribute(four))
	case six != nil:
		p.Add(typeNASIPv6Address, wire.Attribute(six))
	}
	if r.packet, err = p.Encode(); err != nil {
		return nil, err
	}
	const at = 20 + 2
	copy(r.packet[at:at+md5.Size], seal(r.packet, r.secret))
	return r, nil
}

// seal is the Message-Authenticator of a packet in which it is zero.
func seal(packet, secret []byte) []byte {
	h := hmac.New(md5.New, secret)
	h.Write(packet)
	return h.Sum(nil)
}

// read takes a datagram for the answer to the request; nil for one that is none, or
// that is not proved to be the server's.
func (r *request) read(datagram []byte) *wire.Packet {
	p, err := wire.Parse(datagram, r.secret)
	if err != nil {
		return nil
	}
	datagram = datagram[:int(datagram[2])<<8|int(datagram[3])] // what is behind it is padding
	if datagram[1] != r.packet[1] || !wire.IsAuthenticResponse(datagram, r.packet, r.secret) || !r.proved(datagram) {
		return nil
	}
	return p
}

// proved looks at the answer's Message-Authenticator, which is reckoned over the
// answer with the request's authenticator in it.
func (r *request) proved(answer []byte) bool {
	b := bytes.Clone(answer)
	copy(b[4:20], r.packet[4:20])
	var shown []byte
	for at := 20; at+2 <= len(b); at += int(b[at+1]) {
		if wire.Type(b[at]) != typeMessageAuthenticator {
			continue
		}
		if shown != nil || int(b[at+1]) != 2+md5.Size {
			return false
		}
		value := b[at+2 : at+2+md5.Size]
		shown = bytes.Clone(value)
		clear(value)
	}
	if shown == nil {
		r.unsigned = !r.unproved
		return r.unproved
	}
	return hmac.Equal(shown, seal(b, r.secret))
}

// resends is how often a request that is not answered is sent again, in equal parts
// of the time that the server may take.
const resends = 2

// Why there is no answer.
var (
	errNoAnswer = errors.New("no answer that the server has proved to be its own")
	errNobody   = errors.New("the host says that nothing listens on the port")
	errUnsigned = errors.New("answers without one were passed over; have the server add it, or take them with require_message_authenticator=false")
)

// ask asks whether a password is an account's; name is what the server calls the
// account, where it says so.
func (cfg *config) ask(ctx context.Context, account string, password api.Secret) (name string, ok bool, err error) {
	dialing, done := context.WithTimeout(ctx, cfg.DialTimeout)
	defer done()
	conn, err := outbound.Dial(dialing, "udp", cfg.address())
	if err != nil {
		return "", false, err
	}
	defer conn.Close()
	var from net.IP
	if a, is := conn.LocalAddr().(*net.UDPAddr); is {
		from = a.IP
	}
	r, err := newRequest(cfg, account, password, from)
	if err != nil {
		return "", false, err
	}
	p, err := cfg.exchange(ctx, conn, r)
	if err != nil || p.Code != wire.CodeAccessAccept {
		return "", false, err
	}
	return string(p.Get(rfc2865.UserName_Type)), true, nil
}

// exchange sends a request until it is answered, or the time is up. An answer that is not signed ends nothing, since anybody
// may have sent it before the server's own. So does word that nothing listens on the port, while the request is to be sent
// again: the server may be starting anew, and strangers can send that too (RFC 5927).
func (cfg *config) exchange(ctx context.Context, conn net.Conn, r *request) (*wire.Packet, error) {
	ctx, done := context.WithTimeout(ctx, cfg.ReadTimeout)
	defer done()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write(r.packet); err != nil {
		return nil, err
	}
	for i := range resends {
		again := time.AfterFunc(cfg.ReadTimeout*time.Duration(i+1)/(resends+1), func() { conn.Write(r.packet) })
		defer again.Stop()
	}
	buf := make([]byte, wire.MaxPacketLength)
	for refused := 0; ; {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			if refused++; refused > resends {
				return nil, errors.Join(errNobody, err)
			}
		case err != nil && r.unsigned:
			return nil, errors.Join(errUnsigned, err)
		case err != nil:
			return nil, errors.Join(errNoAnswer, err)
		}
		if p := r.read(buf[:n]); p != nil {
			return p, nil
		}
	}
}
