package blackbox

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// mistyped are values that no field of a kind can mean.
func mistyped(k api.FieldKind) []string {
	list, object := `["`+canary+`"]`, `{"`+canary+`":"`+canary+`"}`
	switch k {
	case api.KindString, api.KindSecret, api.KindName:
		return []string{list, object, `[]`, `{}`}
	case api.KindBool, api.KindInt, api.KindFloat, api.KindTime, api.KindDuration:
		return []string{`"` + canary + `"`, list, object, `{}`}
	case api.KindStrings:
		return []string{object, `[{}]`, `[["` + canary + `"]]`, `{}`}
	case api.KindInts:
		return []string{object, `["` + canary + `"]`, `"` + canary + `"`, `[{}]`, `{}`}
	case api.KindPairs:
		return []string{`"` + canary + `"`, list, `{"a":{"` + canary + `":1}}`, `{"a":["` + canary + `"]}`}
	case api.KindObject, api.KindStruct, api.KindMap, api.KindByName:
		return []string{list, `12`, `true`, `[]`}
	case api.KindStructs, api.KindList:
		return []string{`12`, `true`, object}
	}
	return nil // any value is one of KindAny
}

// TestWrongTypes gives every field of every endpoint that takes a body values of
// every other type: 400, the field's name, and nothing of the value.
func TestWrongTypes(t *testing.T) {
	s := furnished(t)
	asked := 0
	for name, e := range surface(t) {
		if e.Op != api.Write && e.Op != api.Patch || strings.HasSuffix(name, "sys/seal") {
			continue
		}
		_, path, _ := strings.Cut(name, " ")
		for _, f := range e.Request.Fields {
			if f.InPath || f.Whole || f.Name == "" || f.Name == "-" {
				continue
			}
			if e.Has(api.Upload) { // its body is not for fields
				asked++
				a := s.Do(t, methods[e.Op], filled(path)+"?"+f.Name+"="+canary, root, "")
				if a.Status != 400 || !strings.Contains(a.Text(), f.Name) || strings.Contains(a.Text(), canary) {
					t.Errorf("%s: %s (%s) in the query: %d %s", name, f.Name, f.Kind, a.Status, a.Body)
				}
				continue
			}
			for _, value := range mistyped(f.Kind) {
				asked++
				a := s.Do(t, methods[e.Op], filled(path), root, `{"`+f.Name+`":`+value+`}`, "Content-Type", "application/merge-patch+json")
				if a.Status != 400 || !strings.Contains(a.Text(), f.Name) || strings.Contains(a.Text(), canary) {
					t.Errorf("%s: %s (%s) given %s: %d %s", name, f.Name, f.Kind, value, a.Status, a.Body)
				}
			}
		}
	}
	if asked < 300 {
		t.Errorf("only %d requests were made", asked)
	}
	for _, l := range leaks(map[string][]byte{"log": s.Log.Bytes()}, map[string]string{"value": canary}) {
		t.Error(l)
	}
}

// TestSmuggling sends requests of which somebody on the way could see other
// boundaries than we do, each followed by one that would be taken for a second:
// one refusal, a connection that is closed, and nothing done. A
// header that is folded is read as RFC 9112 (section 5.2) lets a server do: with a
// space for the fold.
func TestSmuggling(t *testing.T) {
	s := &served{furnished(t)}
	head := "POST /v1/kv1/smuggled HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + root + "\r\n"
	hidden := "POST /v1/kv1/hidden HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + root + "\r\nContent-Length: 9\r\n\r\n{\"a\":\"b\"}"
	for name, raw := range map[string]string{
		"two lengths":             head + "Content-Length: 9\r\nContent-Length: 0\r\n\r\n" + hidden,
		"a list of lengths":       head + "Content-Length: 9, 0\r\n\r\n" + hidden,
		"a negative length":       head + "Content-Length: -1\r\n\r\n" + hidden,
		"a length with a sign":    head + "Content-Length: +9\r\n\r\n" + hidden,
		"a length in hexadecimal": head + "Content-Length: 0x9\r\n\r\n" + hidden,
		"a huge length":           head + "Content-Length: 99999999999999999999\r\n\r\n" + hidden,
		"an unknown encoding":     head + "Transfer-Encoding: xchunked\r\n\r\n" + hidden,
		"two encodings":           head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
		"a list of encodings":     head + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + hidden,
		"a space before a colon":  head + "Content-Length : 9\r\n\r\n" + hidden,
		"a folded first header":   "POST /v1/kv1/smuggled HTTP/1.1\r\n Host: x\r\n\r\n" + hidden,
		"a bare CR":               head + "X-A: b\rContent-Length: 9\r\n\r\n" + hidden,
		"NUL in a header":         head + "X-A: b\x00\r\nContent-Length: 9\r\n\r\n" + hidden,
		"NUL in a name":           head + "X\x00A: b\r\nContent-Length: 9\r\n\r\n" + hidden,
		"NUL in the path":         "POST /v1/kv1/smu\x00ggled HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + root + "\r\nContent-Length: 9\r\n\r\n" + hidden,
		"no colon":                head + "nonsense\r\n\r\n" + hidden,
		"an empty name":           head + ": x\r\n\r\n" + hidden,
		"two hosts":               head + "Host: y\r\n\r\n" + hidden,
		"a bad chunk":             head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + hidden,
		"a chunk of a sign":       head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + hidden,
		"a huge chunk":            head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + hidden,
		"chunk extensions":        head + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 1<<20) + "\r\n{\r\n" + hidden,
		"an old version":          "POST /v1/kv1/smuggled HTTP/0.9\r\nHost: x\r\n\r\n" + hidden,
		"a new version":           "POST /v1/kv1/smuggled HTTP/3.0\r\nHost: x\r\n\r\n" + hidden,
		"a lower-case version":    "POST /v1/kv1/smuggled http/1.1\r\nHost: x\r\n\r\n" + hidden,
		"a preface of HTTP/2":     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden,
		"TLS":                     "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + hidden,
	} {
		if all := s.conversation(t, raw); !strings.HasPrefix(all, "HTTP/1.1 4") && !strings.HasPrefix(all, "HTTP/1.1 5") && !strings.HasPrefix(all, "HTTP/1.0 400") || strings.Count(all, "HTTP/1.") != 1 || strings.Contains(all, canary) {
			t.Errorf("%s: %.300q", name, all)
		}
	}
	// A length beside an encoding, and chunks that end in bare line feeds, are read
	// in one way alone, and nothing after them.
	for _, raw := range []string{head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"a\":\"b\"}\r\n0\r\n\r\n" + hidden,
		head + "Transfer-Encoding: chunked\r\nContent-Length: 200\r\n\r\n9\r\n{\"a\":\"b\"}\r\n0\r\n\r\n" + hidden,
		head + "Transfer-Encoding: chunked\r\n\r\n9\n{\"a\":\"b\"}\n0\n\n" + hidden} {
		if all := s.conversation(t, raw); strings.Count(all, "HTTP/1.") != 1 {
			t.Errorf("two answers: %.300q", all)
		}
	}
	s.Want(t, 404, "GET", "kv1/hidden", root, "")
	if all := s.conversation(t, head+"Content-Length: 9\r\n\r\n{\"a\":\"b\"}"+strings.Replace(hidden, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); strings.Count(all, "HTTP/1.1 204") != 2 {
		t.Errorf("control: two requests: %.300q", all)
	}
}

// served is a server that is spoken to in bytes.
type served struct{ *servertest.Server }

// conversation sends bytes and reads until the server ends the connection.
func (s *served) conversation(t *testing.T, raw string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(conn, raw) // the server may answer before it has read all
	all, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("%.60q: the connection stays open: %v, %q", raw, err, all)
	}
	return string(all)
}

// TestHeaderFloods sends more of headers than anybody needs.
func TestHeaderFloods(t *testing.T) {
	s := &served{furnished(t)}
	get := "GET /v1/kv1/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + root + "\r\n"
	var many strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&many, "X-%d: y\r\n", i)
	}
	for name, raw := range map[string]string{
		"100,000 headers": get + many.String() + "\r\n", "10 MiB in one": get + "X-Big: " + strings.Repeat("y", 10<<20) + "\r\n\r\n", "one name": get + strings.Repeat("X: y\r\n", 50_000) + "\r\n",
		"a long path": "GET /v1/" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", "a long method": strings.Repeat("G", 1<<20) + " / HTTP/1.1\r\nHost: x\r\n\r\n", "a long version": "GET / HTTP/" + strings.Repeat("1", 1<<20) + "\r\n\r\n",
		"a long token": "GET /v1/kv1/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + strings.Repeat("t", 200<<10) + "\r\n\r\n",
	} {
		if all := s.conversation(t, raw); !strings.HasPrefix(all, "HTTP/1.1 4") && all != "" {
			t.Errorf("%s: %.200q", name, all)
		}
	}
	s.Want(t, 200, "GET", "kv1/a", root, "")
}

// overTLS is a server with a certificate, and the client's configuration.
func overTLS(t *testing.T) (*servertest.Server, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := servertest.Start(t, func(c *server.Config) {
		c.Listeners[0].CertFile, c.Listeners[0].KeyFile = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	})
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return s, &tls.Config{RootCAs: pool, NextProtos: []string{"h2"}}
}

// frame is one of HTTP/2 (RFC 9113, section 4.1).
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, flags)
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// asking is the header block of GET /v1/sys/health (RFC 7541): indexed fields, and
// a path and an authority in the clear.
func asking() []byte {
	b := []byte{0x82, 0x87} // :method GET, :scheme https
	for _, f := range []struct {
		index byte
		text  string
	}{{0x04, "/v1/sys/health"}, {0x01, "x"}} {
		b = append(append(b, f.index, byte(len(f.text))), f.text...)
	}
	return b
}

const (
	h2Headers, h2Reset, h2Settings, h2Ping, h2Continuation = 1, 3, 4, 6, 9
	h2EndStream, h2EndHeaders                              = 1, 4
)

// flood writes frames until the server ends the connection or says that it will, or there are no
// more of them, and tells how many were taken.
func flood(t *testing.T, s *servertest.Server, conf *tls.Config, n int, next func(i int) []byte) (taken int, ended bool) {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Addr, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		r := bufio.NewReader(conn)
		for {
			var head [9]byte
			if _, err := io.ReadFull(r, head[:]); err != nil || head[3] == 7 { // GOAWAY
				return
			}
			if _, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[:])>>8)); err != nil {
				return
			}
		}
	}()
	w := bufio.NewWriterSize(conn, 16<<10)
	if _, err := w.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(frame(h2Settings, 0, 0, nil)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		select {
		case <-over:
			return i, true
		default:
		}
		if _, err := w.Write(next(i)); err != nil {
			return i, true
		}
	}
	return n, w.Flush() != nil
}

// TestCVE_2020_7219_HTTP2Floods sends what HTTP/2 lets a client send for little:
// requests that are taken back at once (CVE-2023-44487), headers that go on in ever more
// frames (CVE-2023-45288), settings and pings. The server gives none of it memory, and others their answers.
// Control: the same requests without a reset are answered.
func TestCVE_2020_7219_HTTP2Floods(t *testing.T) {
	s, conf := overTLS(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: conf.RootCAs}, ForceAttemptHTTP2: true}, Timeout: 20 * time.Second}
	healthy := func(what string) {
		t.Helper()
		resp, err := client.Get(s.URL + "/v1/sys/health")
		if err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 2 {
			t.Fatalf("%s: %v %v", what, resp, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	healthy("control")
	piece := append([]byte{0x00, 0x01, 'x', 0x7f, 0x80, 0x7f}, strings.Repeat("y", 16000)...) // a literal field
	for name, c := range map[string]struct {
		n    int
		ends bool // whether the server must end the connection
		next func(i int) []byte
	}{
		"rapid reset": {50_000, false, func(i int) []byte {
			id := uint32(2*i + 1)
			return append(frame(h2Headers, h2EndHeaders|h2EndStream, id, asking()), frame(h2Reset, 0, id, []byte{0, 0, 0, 8})...)
		}},
		"continuation": {20_000, true, func(i int) []byte {
			if i == 0 {
				return frame(h2Headers, h2EndStream, 1, asking())
			}
			return frame(h2Continuation, 0, 1, piece[:16000])
		}},
		"empty continuation": {500_000, false, func(i int) []byte {
			if i == 0 {
				return frame(h2Headers, h2EndStream, 1, asking())
			}
			return frame(h2Continuation, 0, 1, nil)
		}},
		"settings": {100_000, false, func(int) []byte { return frame(h2Settings, 0, 0, nil) }},
		"pings":    {100_000, false, func(int) []byte { return frame(h2Ping, 0, 0, make([]byte, 8)) }},
		"a thousand streams and more": {5_000, false, func(i int) []byte {
			return frame(h2Headers, h2EndHeaders, uint32(2*i+1), asking()) // whose bodies never come
		}},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		taken, ended := flood(t, s, conf, c.n, c.next)
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 64<<20 {
			t.Errorf("%s: the heap grew by %d MiB", name, grown>>20)
		}
		t.Logf("%s: %d of %d were taken, ended: %v", name, taken, c.n, ended)
		if c.ends && !ended {
			t.Errorf("%s: all of %d were taken", name, c.n)
		}
		healthy(name)
	}
}

// TestCVE_2026_73500_SilentSockets opens connections to a TLS listener and says
// nothing, or half of a greeting: each is closed in time, and others are served meanwhile.
// Control: a server without ReadHeaderTimeout keeps them.
func TestCVE_2026_73500_SilentSockets(t *testing.T) {
	s, conf := overTLS(t)
	var silent []net.Conn
	for i := range 300 {
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			if _, err := conn.Write([]byte{0x16, 0x03, 0x01, 0x02}); err != nil {
				t.Fatal(err)
			}
		}
		silent = append(silent, conn)
	}
	conn, err := tls.Dial("tcp", s.Addr, conf)
	if err != nil {
		t.Fatalf("nobody else gets in: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, c := range silent {
		if err := c.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("a silent connection is open after 20 s: %v", err)
		}
	}
}
