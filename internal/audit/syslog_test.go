package audit

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// rfc5424 and older are what daemons read messages by.
var (
	rfc5424 = regexp.MustCompile(`(?s)^<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ (\S+) (\d+) audit - (.*)$`)
	older   = regexp.MustCompile(`(?s)^<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (\S+)\[(\d+)\]: (.*)\n$`)
	parted  = regexp.MustCompile(`(?s)^audit-part:(\d+):(\d+)/(\d+) (.*)$`)
)

// octets reads messages that begin with their length (RFC 6587 section 3.4.1).
func octets(r *bufio.Reader) (string, error) {
	n, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	size, err := strconv.Atoi(strings.TrimSuffix(n, " "))
	if err != nil {
		return "", err
	}
	b := make([]byte, size)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

// daemon puts entries together from messages.
type daemon struct {
	t       *testing.T
	form    *regexp.Regexp
	prefix  string // priority and tag: what every message must have
	longest int
	partial string
	next    int
	entries []string
}

func (d *daemon) take(message string) {
	d.t.Helper()
	m := d.form.FindStringSubmatch(message)
	if m == nil || m[1]+" "+m[2] != d.prefix || len(message) > d.longest {
		d.t.Fatalf("%d bytes, %v: %.200q", len(message), m != nil, message)
	}
	p := parted.FindStringSubmatch(m[4])
	if p == nil {
		d.entries = append(d.entries, m[4])
		return
	}
	d.next++
	if p[2] != strconv.Itoa(d.next) {
		d.t.Fatalf("part %s, want %d", p[2], d.next)
	}
	if d.partial += p[4]; p[2] == p[3] {
		d.entries = append(d.entries, d.partial)
		d.partial, d.next = "", 0
	}
}

// entries are three, of which one is too long for a message.
func threeEntries() ([]string, []byte) {
	texts := []string{`{"a":1}`, `{"long":"` + strings.Repeat("äöü€", 1500) + `"}`, `{"b":2}`}
	return texts, []byte(strings.Join(texts, "\n") + "\n")
}

func opened5424(t *testing.T, options map[string]string) *Sink {
	t.Helper()
	s, err := Open(&Declaration{Path: "log/", Type: "syslog", Options: options, Key: testKey(), Configured: true}, Env{Now: time.Now})
	must(t, err)
	t.Cleanup(func() { must(t, s.line.close()) })
	return s
}

func TestSyslogOverTCPAndTLS(t *testing.T) {
	cert, ca := certificate(t)
	for _, network := range []string{"tcp", "tls", "newline"} {
		options := map[string]string{"socket_type": network, "facility": "local3", "tag": "room", "max_message_size": "2000"}
		var l net.Listener
		var err error
		if network == "tls" {
			options["tls_ca_pem"] = ca
			l, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		} else {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		must(t, err)
		if network == "newline" {
			options["socket_type"], options["framing"] = "tcp", "newline"
		}
		options["address"] = l.Addr().String()
		s := opened5424(t, options)
		texts, lines := threeEntries()
		go func() {
			if err := s.line.put(t.Context(), lines); err != nil {
				t.Errorf("%s: %v", network, err)
			}
		}()
		c, err := l.Accept()
		must(t, err)
		d := &daemon{t: t, form: rfc5424, prefix: "158 room", longest: 2000} // 19*8 + 6
		r := bufio.NewReader(c)
		for len(d.entries) < len(texts) {
			var m string
			var err error
			if network == "newline" {
				m, err = r.ReadString('\n')
				m = strings.TrimSuffix(m, "\n")
			} else {
				m, err = octets(r)
			}
			must(t, err)
			d.take(m)
		}
		if strings.Join(d.entries, "|") != strings.Join(texts, "|") {
			t.Errorf("%s: %q", network, d.entries)
		}
		must(t, errors.Join(c.Close(), l.Close()))
	}
}

// certificate is one for 127.0.0.1, and the same as an authority.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A peer whose certificate nobody vouches for gets nothing.
func TestSyslogTrustsOnlyItsAuthorities(t *testing.T) {
	cert, _ := certificate(t)
	_, other := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if b, err := io.ReadAll(c); err == nil || len(b) > 0 {
			t.Errorf("%q %v", b, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := opened5424(t, map[string]string{"socket_type": "tls", "address": l.Addr().String(), "tls_ca_pem": other})
	if err := s.line.put(t.Context(), []byte("x\n")); err == nil || cause(err) != "its certificate is not trusted" {
		t.Error(err)
	}
}

func TestSyslogInPackets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	local, err := net.ListenPacket("unixgram", path)
	must(t, err)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	for _, c := range []struct {
		l       net.PacketConn
		form    *regexp.Regexp
		options map[string]string
	}{
		{local, older, map[string]string{"address": path, "socket_type": "unix"}},
		{udp, rfc5424, map[string]string{"address": udp.LocalAddr().String(), "socket_type": "udp"}},
	} {
		s := opened5424(t, c.options)
		texts, lines := threeEntries()
		must(t, s.line.put(t.Context(), lines))
		d := &daemon{t: t, form: c.form, prefix: "38 strongroom", longest: defaultMessage} // 4*8 + 6
		for buf := make([]byte, 1<<16); len(d.entries) < len(texts); {
			must(t, c.l.SetReadDeadline(time.Now().Add(10*time.Second)))
			n, _, err := c.l.ReadFrom(buf)
			must(t, err)
			d.take(string(buf[:n]))
		}
		if strings.Join(d.entries, "|") != strings.Join(texts, "|") {
			t.Errorf("%v: %q", c.options, d.entries)
		}
		must(t, c.l.Close())
	}
}

// No entry is too long for any device (an answer with 10,000 leases was, for
// Vault's syslog device), and no message is longer than the daemon takes.
func TestSyslogCutsWhatIsTooLong(t *testing.T) {
	for _, longest := range []int{leastMessage, 1000, defaultMessage} {
		for _, size := range []int{0, 1, 399, 400, 401, 5000, 256 << 10} {
			f := &syslogForm{priority: 38, tag: strings.Repeat("t", 32), host: strings.Repeat("h", 255), pid: "4194304", longest: longest, counted: true, parted: 1 << 40}
			line := strings.Repeat("€", size/3) + strings.Repeat("x", size%3)
			var to frames
			f.frame(&to, []byte(line+"\n"), moment)
			d := &daemon{t: t, form: rfc5424, prefix: "38 " + f.tag, longest: longest}
			for r := bufio.NewReader(bytes.NewReader(to.bytes)); len(d.entries) == 0; {
				m, err := octets(r)
				must(t, err)
				d.take(m)
			}
			if d.entries[0] != line || to.ends[len(to.ends)-1] != len(to.bytes) {
				t.Errorf("%d bytes in messages of %d: %.100q", size, longest, d.entries)
			}
		}
	}
}

// A connection that breaks within a message costs that message's second sending,
// and no other's.
func TestSyslogResendsFromAWholeMessage(t *testing.T) {
	var to frames
	f := &syslogForm{priority: 38, tag: "t", host: "h", pid: "1", longest: 1000, counted: true}
	f.frame(&to, []byte("one\ntwo\nthree\n"), moment)
	for n := range len(to.bytes) {
		whole := 0
		for _, end := range to.ends {
			if end <= n {
				whole = end
			}
		}
		again := to
		again.delivered(n)
		if again.sent != whole {
			t.Errorf("after %d bytes goes on at %d, want %d", n, again.sent, whole)
		}
		again.delivered(len(to.bytes) - again.sent)
		if again.sent != len(to.bytes) {
			t.Errorf("%d then %d", n, again.sent)
		}
	}
}

func TestSyslogOptions(t *testing.T) {
	_, ca := certificate(t)
	for _, c := range []struct {
		options map[string]string
		want    string // empty: taken
	}{
		{nil, ""},
		{map[string]string{"facility": "AUTH", "tag": "vault"}, ""},
		{map[string]string{"address": "127.0.0.1:514"}, ""},
		{map[string]string{"address": "127.0.0.1:514", "socket_type": "udp", "max_message_size": "2KiB"}, ""},
		{map[string]string{"address": "127.0.0.1:6514", "socket_type": "tls", "tls_ca_pem": ca, "tls_server_name": "x"}, ""},
		{map[string]string{"facility": "s3cret"}, "options.facility"},
		{map[string]string{"tag": "s3cret tag"}, "options.tag"},
		{map[string]string{"tag": "s3cret:"}, "options.tag"},
		{map[string]string{"address": "s3cret"}, "options.address"},
		{map[string]string{"socket_type": "udp"}, "options.address"},
		{map[string]string{"address": "127.0.0.1:1", "socket_type": "s3cret"}, "options.socket_type"},
		{map[string]string{"address": "127.0.0.1:1", "framing": "s3cret"}, "options.framing"},
		{map[string]string{"address": "127.0.0.1:1", "max_message_size": "100"}, "options.max_message_size"},
		{map[string]string{"address": "127.0.0.1:1", "socket_type": "udp", "max_message_size": "1MiB"}, "options.max_message_size"},
		{map[string]string{"address": "127.0.0.1:1", "tls_ca_pem": ca}, "options.tls_ca_pem"},
		{map[string]string{"tls_server_name": "s3cret"}, "options.tls_server_name"},
		{map[string]string{"address": "127.0.0.1:1", "socket_type": "tls", "tls_ca_pem": "s3cret"}, "options.tls_ca_pem"},
		{map[string]string{"address": "127.0.0.1:1", "socket_type": "tls", "tls_ca_file": "/s3cret"}, "options.tls_ca_file"},
		{map[string]string{"address": "127.0.0.1:1", "socket_type": "tls", "tls_cert_file": "/s3cret"}, "options.tls_cert_file"},
		{map[string]string{"spool_size": "1MiB"}, "options.spool_size"},
		{map[string]string{"spool_path": "/etc/s3cret"}, "options.spool_path"},
		{map[string]string{"spool_path": "s3cret"}, "options.spool_path"},
		{map[string]string{"deadline": "2m"}, "options.deadline"},
		{map[string]string{"deadline": "1s", "write_timeout": "1s"}, "options.write_timeout"},
		{map[string]string{"file_path": "/s3cret"}, "options: unknown"},
	} {
		_, err := Open(&Declaration{Path: "a/", Type: "syslog", Options: c.options, Key: testKey()}, Env{Now: time.Now})
		switch {
		case c.want == "" && err != nil, c.want != "" && (api.KindOf(err) != api.Invalid || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%v: %v, want %q", c.options, err, c.want)
		case err != nil && strings.Contains(err.Error(), "s3cret"):
			t.Errorf("echo: %v", err)
		}
	}
	for name, c := range map[string]map[string]string{"tls_ca_file": {"tls_ca_file": "/s3cret"}, "tls_cert_file": {"tls_cert_file": "/s3cret", "tls_key_file": "/s3cret"}} {
		c["address"], c["socket_type"] = "127.0.0.1:1", "tls"
		_, err := Open(&Declaration{Path: "a/", Type: "syslog", Options: c, Key: testKey(), Configured: true}, Env{Now: time.Now})
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("options.%s: cannot be", name)) || !strings.Contains(err.Error(), "no such file") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
