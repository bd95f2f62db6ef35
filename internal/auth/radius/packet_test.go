package radius

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	wire "layeh.com/radius"
	"layeh.com/radius/rfc2865"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

const shared = "0123456789abcdef"

// answers is a RADIUS server that answers what a test wants.
func answers(t testing.TB, reply func(request []byte) [][]byte) *mount {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, wire.MaxPacketLength)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			for _, r := range reply(bytes.Clone(b[:n])) {
				l.WriteTo(r, from)
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	m := newMount(t)
	m.MustText(api.Write, "config", fmt.Sprintf(`{"host":"127.0.0.1","port":%d,"secret":%q,"unregistered_user_policies":"guest","read_timeout":"1s"}`, l.LocalAddr().(*net.UDPAddr).Port, shared))
	return m
}

// answer is an answer with a right response authenticator, whose Message-Authenticator, if it has one, is right when it
// was made.
func answer(t testing.TB, request []byte, code wire.Code, signatures int, change func(*wire.Packet)) []byte {
	t.Helper()
	q, err := wire.Parse(request, []byte(shared))
	if err != nil {
		t.Fatal(err)
	}
	p := q.Response(code)
	for range signatures {
		p.Add(typeMessageAuthenticator, make([]byte, 16))
	}
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for i := range signatures {
		p.Attributes[i].Attribute = seal(b, p.Secret)
	}
	if change != nil {
		change(p)
	}
	if b, err = p.Encode(); err != nil {
		t.Fatal(err)
	}
	return b
}

// An answer that its server has not signed lets nobody in, though its response
// authenticator be right, which can be forged.
func TestCVE2024_3596_AnswersAreSigned(t *testing.T) {
	flip := func(p *wire.Packet) { p.Attributes[0].Attribute[3] ^= 1 }
	for name, c := range map[string]struct {
		reply func(q []byte) []byte
		kind  api.Kind
	}{
		"signed":               {func(q []byte) []byte { return answer(t, q, wire.CodeAccessAccept, 1, nil) }, authtest.Success},
		"signed, with padding": {func(q []byte) []byte { return append(answer(t, q, wire.CodeAccessAccept, 1, nil), 1, 2, 3) }, authtest.Success},
		"not signed":           {func(q []byte) []byte { return answer(t, q, wire.CodeAccessAccept, 0, nil) }, api.Unavailable},
		"signed wrongly":       {func(q []byte) []byte { return answer(t, q, wire.CodeAccessAccept, 1, flip) }, api.Unavailable},
		"signed twice":         {func(q []byte) []byte { return answer(t, q, wire.CodeAccessAccept, 2, nil) }, api.Unavailable},
		"signed shortly": {func(q []byte) []byte {
			return answer(t, q, wire.CodeAccessAccept, 1, func(p *wire.Packet) { p.Attributes[0].Attribute = p.Attributes[0].Attribute[:4] })
		}, api.Unavailable},
		"signed before a change": {func(q []byte) []byte {
			return answer(t, q, wire.CodeAccessAccept, 1, func(p *wire.Packet) { p.Add(rfc2865.Class_Type, []byte("x")) })
		}, api.Unavailable},
		"signed as a refusal": {func(q []byte) []byte {
			return answer(t, q, wire.CodeAccessReject, 1, func(p *wire.Packet) { p.Code = wire.CodeAccessAccept })
		}, api.Unavailable},
		"signed, refused":          {func(q []byte) []byte { return answer(t, q, wire.CodeAccessReject, 1, nil) }, api.Invalid},
		"signed, asks for more":    {func(q []byte) []byte { return answer(t, q, wire.CodeAccessChallenge, 1, nil) }, api.Invalid},
		"refused and not signed":   {func(q []byte) []byte { return answer(t, q, wire.CodeAccessReject, 0, nil) }, api.Unavailable},
		"of another request":       {func(q []byte) []byte { q[1]++; return answer(t, q, wire.CodeAccessAccept, 1, nil) }, api.Unavailable},
		"of another authenticator": {func(q []byte) []byte { b := answer(t, q, wire.CodeAccessAccept, 1, nil); b[4]++; return b }, api.Unavailable},
		"nothing":                  {func([]byte) []byte { return nil }, api.Unavailable},
		"cut short":                {func(q []byte) []byte { return answer(t, q, wire.CodeAccessAccept, 1, nil)[:30] }, api.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := answers(t, func(q []byte) [][]byte { return [][]byte{c.reply(q)} })
			_, err := m.login("alice", "x")
			if kind := api.KindOf(err); (err == nil) != (c.kind == authtest.Success) || err != nil && kind != c.kind {
				t.Errorf("%v, want %v", err, c.kind)
			}
			if unsigned := strings.Contains(name, "not signed"); err != nil && strings.Contains(err.Error(), "have no Message-Authenticator") != unsigned {
				t.Errorf("is told %v", err)
			}
		})
	}
	unsigned := func(q []byte) [][]byte { return [][]byte{answer(t, q, wire.CodeAccessAccept, 0, nil)} }
	m := answers(t, unsigned)
	m.MustText(api.Write, "config", `{"require_message_authenticator":false}`)
	if _, err := m.login("alice", "x"); err != nil {
		t.Errorf("where no signature is wanted: %v", err)
	}
	m = answers(t, func(q []byte) [][]byte { return [][]byte{answer(t, q, wire.CodeAccessAccept, 1, flip)} })
	m.MustText(api.Write, "config", `{"require_message_authenticator":false}`)
	if _, err := m.login("alice", "x"); err == nil {
		t.Error("a wrong signature is taken")
	}
}

// What strangers send meanwhile is passed over, and a request that is lost is sent again.
func TestAnswerAmongOthers(t *testing.T) {
	m := answers(t, func(q []byte) [][]byte {
		forged := answer(t, q, wire.CodeAccessAccept, 0, nil)
		return [][]byte{{}, {1, 2, 3}, forged, answer(t, q, wire.CodeAccessReject, 1, nil)}
	})
	m.refused("alice", "x", api.Invalid)
	m = answers(t, func(q []byte) [][]byte {
		forged := answer(t, q, wire.CodeAccessReject, 0, nil)
		return [][]byte{forged, forged, answer(t, q, wire.CodeAccessAccept, 1, nil)}
	})
	if _, err := m.login("alice", "x"); err != nil {
		t.Errorf("a refusal that is not signed ends a login: %v", err)
	}
	requests := make(chan []byte, resends+1)
	m = answers(t, func(q []byte) [][]byte {
		if requests <- q; len(requests) == 1 {
			return nil
		}
		return [][]byte{answer(t, q, wire.CodeAccessAccept, 1, nil)}
	})
	if _, err := m.login("alice", "x"); err != nil || len(requests) < 2 {
		t.Fatalf("sent %d times: %v", len(requests), err)
	}
	if first, again := <-requests, <-requests; !bytes.Equal(first, again) {
		t.Error("sent again as another request")
	}
}

// starting is the connection to a server that listens only when it has been sent so many packets.
type starting struct {
	net.Conn
	t       *testing.T
	away    int
	packets chan []byte
	sent    int
}

func (c *starting) Write(b []byte) (int, error) {
	c.packets <- bytes.Clone(b)
	return len(b), nil
}

func (c *starting) Read(b []byte) (int, error) {
	q, open := <-c.packets
	if c.sent++; !open {
		return 0, net.ErrClosed
	}
	if c.sent <= c.away {
		return 0, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNREFUSED)}
	}
	return copy(b, answer(c.t, q, wire.CodeAccessAccept, 1, nil)), nil
}

func (c *starting) Close() error {
	close(c.packets)
	return nil
}

// That nothing listens on the port ends a login when there is nothing more to send, and not before: a server that starts
// anew is waited for.
func TestPortThatNothingListensOn(t *testing.T) {
	for away := range resends + 2 {
		synctest.Test(t, func(t *testing.T) {
			cfg := &config{secret: api.NewSecret(shared), ReadTimeout: 30 * time.Second}
			r, err := newRequest(cfg, "alice", api.NewSecret("x"), net.IPv4(127, 0, 0, 1))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			p, err := cfg.exchange(t.Context(), &starting{t: t, away: away, packets: make(chan []byte, resends+1)}, r)
			if ended := min(away, resends); time.Since(began) != time.Duration(ended)*10*time.Second {
				t.Errorf("ended after %v, with a server that takes the packet %d", time.Since(began), away)
			}
			if isUp := away <= resends; isUp != (p != nil) || !isUp && !errors.Is(err, errNobody) {
				t.Errorf("answered %v, %v by a server that takes the packet %d", p, err, away)
			}
		})
	}
}

// Each request is signed, first of all, and holds the password hidden.
func TestRequestsAreSigned(t *testing.T) {
	requests := make(chan []byte, resends+1)
	m := answers(t, func(q []byte) [][]byte {
		requests <- q
		return [][]byte{answer(t, q, wire.CodeAccessAccept, 1, nil)}
	})
	if _, err := m.login("alice", "hush-hush"); err != nil {
		t.Fatal(err)
	}
	got := <-requests
	p, err := wire.Parse(got, []byte(shared))
	if err != nil || p.Attributes[0].Type != typeMessageAuthenticator {
		t.Fatalf("the request is %+v (%v)", p, err)
	}
	zeroed := bytes.Clone(got)
	clear(zeroed[22:38])
	if !bytes.Equal(got[22:38], seal(zeroed, p.Secret)) {
		t.Error("the signature is wrong")
	}
	password, err := wire.UserPassword(p.Get(rfc2865.UserPassword_Type), p.Secret, p.Authenticator[:])
	if err != nil || string(password) != "hush-hush" || bytes.Contains(got, []byte("hush")) {
		t.Errorf("the password is %q (%v)", password, err)
	}
	if string(p.Get(rfc2865.UserName_Type)) != "alice" || !bytes.Equal(p.Get(rfc2865.NASIPAddress_Type), []byte{127, 0, 0, 1}) {
		t.Errorf("the request is %v", p.Attributes)
	}
}

// Nothing that is sent here is taken for an answer but what the server has signed, and
// nothing does harm.
func FuzzAnswer(f *testing.F) {
	cfg := &config{secret: api.NewSecret(shared), NASPort: 10}
	r, err := newRequest(cfg, "alice", api.NewSecret("x"), net.IPv4(127, 0, 0, 1))
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		f.Add(answer(f, r.packet, wire.CodeAccessAccept, i, nil), true)
	}
	f.Add([]byte{2, r.packet[1], 0, 20}, false)
	f.Add([]byte{2, r.packet[1], 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80, 0}, false)
	f.Fuzz(func(t *testing.T, b []byte, resign bool) {
		if resign && len(b) >= 20 { // as the attack can
			b = bytes.Clone(b)
			b[1] = r.packet[1]
			if p, err := wire.Parse(b, r.secret); err == nil {
				copy(p.Authenticator[:], r.packet[4:20])
				if signed, err := p.Encode(); err == nil {
					b = signed
				}
			}
		}
		p := r.read(b)
		if p == nil {
			return
		}
		shown := p.Get(typeMessageAuthenticator)
		q := &wire.Packet{Code: p.Code, Identifier: p.Identifier, Secret: r.secret}
		copy(q.Authenticator[:], r.packet[4:20])
		for _, a := range p.Attributes {
			if a.Type == typeMessageAuthenticator {
				a = &wire.AVP{Type: a.Type, Attribute: make([]byte, len(a.Attribute))}
			}
			q.Attributes = append(q.Attributes, a)
		}
		plain, err := q.MarshalBinary()
		if err != nil || !bytes.Equal(seal(plain, r.secret), shown) {
			t.Fatalf("%x is taken (%v)", b, err)
		}
	})
}
