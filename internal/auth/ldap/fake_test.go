package ldap

import (
	"net"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// fake is a directory over the real protocol that says what a test wants, for what OpenLDAP does not do.
type fake struct {
	t    testing.TB
	addr string

	mu        sync.Mutex
	passwords map[string]string                       // by the name that is bound as
	answer    func(base, filter string) []*ldap.Entry // of searches
	flood     bool                                    // each search is answered without end
	seen      []string                                // what was asked: bind NAME, search BASE FILTER
	steps     []string                                // the same, without what differs between people
}

func newFake(t testing.TB) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, addr: l.Addr().String(), passwords: map[string]string{}, answer: func(string, string) []*ldap.Entry { return nil }}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return f
}

func (f *fake) url() string { return "ldap://" + f.addr }

func (f *fake) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			err = f.bind(c, id, op.Children[1].Value.(string), op.Children[2].Data.String())
		case ldap.ApplicationSearchRequest:
			err = f.search(c, id, op)
		default:
			return
		}
		if err != nil {
			return
		}
	}
}

func (f *fake) note(step, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.steps = append(f.seen, step+" "+what), append(f.steps, step)
}

func (f *fake) bind(c net.Conn, id int64, name, password string) error {
	f.note("bind", name)
	f.mu.Lock()
	want, known := f.passwords[name]
	f.mu.Unlock()
	code := ldap.LDAPResultInvalidCredentials
	if known && want == password {
		code = ldap.LDAPResultSuccess
	}
	return done(c, id, ldap.ApplicationBindResponse, code)
}

func (f *fake) search(c net.Conn, id int64, op *ber.Packet) error {
	base := op.Children[0].Value.(string)
	filter, err := ldap.DecompileFilter(op.Children[6])
	if err != nil {
		return err
	}
	f.note("search", base+" "+filter)
	f.mu.Lock()
	entries, flood := f.answer(base, filter), f.flood
	f.mu.Unlock()
	for i := 0; i < len(entries) || flood; i++ {
		if _, err := c.Write(entry(id, entries[i%len(entries)])); err != nil {
			return err
		}
	}
	return done(c, id, ldap.ApplicationSearchResultDone, ldap.LDAPResultSuccess)
}

func message(id int64, op *ber.Packet) []byte {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	return p.Bytes()
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func done(c net.Conn, id int64, tag ber.Tag, code int) error {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	op.AppendChild(octets(""))
	op.AppendChild(octets("cn=secret detail,dc=example,dc=com"))
	_, err := c.Write(message(id, op))
	return err
}

func entry(id int64, e *ldap.Entry) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	op.AppendChild(octets(e.DN))
	attrs := ber.NewSequence("")
	for _, a := range e.Attributes {
		one, values := ber.NewSequence(""), ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range a.Values {
			values.AppendChild(octets(v))
		}
		one.AppendChild(octets(a.Name))
		one.AppendChild(values)
		attrs.AppendChild(one)
	}
	op.AppendChild(attrs)
	return message(id, op)
}

// takeSteps is what was asked since the last time, without names.
func (f *fake) takeSteps() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.steps
	f.steps, f.seen = nil, nil
	return out
}

// asked is what was asked since the last time.
func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.seen
	f.steps, f.seen = nil, nil
	return out
}
