package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

const listenerHCL = `
listener "unix" {
  address      = "/run/s"
  socket_mode  = "660"
  socket_user  = "0"
  socket_group = "root"
}
listener "tcp" {
  address                               = "10.0.0.1:1"
  tls_disable                           = true
  tls_disable_client_certs              = true
  proxy_protocol_behavior               = "deny_unauthorized"
  proxy_protocol_authorized_addrs       = "10.0.0.0/8, 192.0.2.1"
  x_forwarded_for_authorized_addrs      = ["10.1.2.3/16", "::1"]
  x_forwarded_for_hop_skips             = 1
  x_forwarded_for_reject_not_authorized = false
  x_forwarded_for_reject_not_present    = "false"
  custom_response_headers {
    "default" = { "X-All" = ["a", "b"] }
    "2xx"     = { "x-fine" = ["yes"] }
    "404"     = { "X-Lost" = "no, none" }
  }
  telemetry { unauthenticated_metrics_access = true }
}
telemetry {
  otlp_endpoint             = "http://127.0.0.1:4318"
  trace_ratio               = 0.5
  service_name              = "vaults"
  prometheus_retention_time = "30s"
}
log_file = "/log"
`

const listenerJSON = `{
  "listener": [
    {"unix": {"address": "/run/s", "socket_mode": "660", "socket_user": "0", "socket_group": "root"}},
    {"tcp": {"address": "10.0.0.1:1", "tls_disable": true, "tls_disable_client_certs": true,
      "proxy_protocol_behavior": "deny_unauthorized", "proxy_protocol_authorized_addrs": ["10.0.0.0/8", "192.0.2.1"],
      "x_forwarded_for_authorized_addrs": "10.1.2.3/16,::1", "x_forwarded_for_hop_skips": "1",
      "x_forwarded_for_reject_not_authorized": false, "x_forwarded_for_reject_not_present": false,
      "custom_response_headers": {"default": {"X-All": ["a", "b"]}, "2xx": {"x-fine": ["yes"]}, "404": {"X-Lost": ["no, none"]}},
      "telemetry": {"unauthenticated_metrics_access": true}}}],
  "telemetry": {"otlp_endpoint": "http://127.0.0.1:4318", "trace_ratio": 0.5, "service_name": "vaults", "prometheus_retention_time": "30s"},
  "log_file": "/log"}`

func prefixes(t *testing.T, texts ...string) (out []netip.Prefix) {
	t.Helper()
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestParseListeners(t *testing.T) {
	want := &Config{LogFile: "/log", Ignored: []string{"telemetry prometheus_retention_time"},
		Telemetry: Telemetry{Endpoint: "http://127.0.0.1:4318", Ratio: 0.5, Service: "vaults"},
		Listeners: []Listener{
			{Address: "/run/s", Unix: true, SocketMode: 0o660, SocketUser: "0", SocketGroup: "root"},
			{Address: "10.0.0.1:1", Plain: true, NoClientCerts: true, ProxyProtocol: proxyDeny, ProxyFrom: prefixes(t, "10.0.0.0/8", "192.0.2.1/32"),
				Forwarded:   Forwarded{From: prefixes(t, "10.1.0.0/16", "::1/128"), Hops: 1, AllowOthers: true, AllowMissing: true},
				Headers:     ResponseHeaders{"default": {"X-All": {"a", "b"}}, "2xx": {"X-Fine": {"yes"}}, "404": {"X-Lost": {"no, none"}}},
				OpenMetrics: true}}}
	for name, src := range map[string]string{"HCL": listenerHCL, "JSON": listenerJSON} {
		got, err := ParseConfig(name, []byte(src))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, want)
		}
	}
}

func TestListenerMistakes(t *testing.T) {
	src := `listener "unix" {}
listener "unix" { address = "/s" proxy_protocol_behavior = "use_always" }
listener "tcp" { socket_mode = "660" }
listener "unix" { address = "/s" socket_mode = "999" }
listener "tcp" { proxy_protocol_behavior = "sometimes" }
listener "tcp" { proxy_protocol_behavior = "allow_authorized" }
listener "tcp" { proxy_protocol_authorized_addrs = "10.0.0.1" }
listener "tcp" { x_forwarded_for_authorized_addrs = "everyone" }
listener "tcp" { x_forwarded_for_hop_skips = -1 }
listener "tcp" { custom_response_headers { "9xx" = { "A" = ["b"] } } }
listener "tcp" { custom_response_headers { "200" = { "X-Vault-Token" = ["b"] } } }
listener "tcp" { custom_response_headers { "200" = { "A B" = ["b"] } } }
listener "tcp" { custom_response_headers { "200" = { "A" = ["b\r\nSet-Cookie: c"] } } }
listener "tcp" { custom_response_headers { "200" = "x" } }
listener "tcp" { telemetry { unauthenticated_pprof_access = true } }
listener "tcp" { telemetry { metrics_only = true disallow_metrics = true } }
listener "tcp" { tls_cert_file = "c" tls_key_file = "k" tls_disable = true }
listener "tcp" { tls_cert_file = "c" tls_client_ca_file = "a" tls_disable_client_certs = true }
telemetry { statsd_address = "x:1" }
telemetry { otlp_endpoint = "x:1" }
telemetry { trace_ratio = 2 }
telemetry { tracing = 2 }
loglevel = "info"`
	wants := []string{"f:1: listener \"\": a unix socket needs address", "f:2: listener \"/s\": proxy_protocol_behavior is for listener \"tcp\"",
		"f:3: listener \"127.0.0.1:8200\": socket_mode", "f:4: socket_mode: must be a mode in octal", "f:5: proxy_protocol_behavior: must be",
		"f:6: listener \"127.0.0.1:8200\": proxy_protocol_behavior = \"allow_authorized\" needs", "f:7: listener \"127.0.0.1:8200\": proxy_protocol_authorized_addrs needs",
		"f:8: x_forwarded_for_authorized_addrs: \"everyone\" is neither", "f:9: x_forwarded_for_hop_skips: must be", "f:10: custom_response_headers: \"9xx\": must be",
		"f:11: custom_response_headers: X-Vault-Token is the server's own", "f:12: custom_response_headers: \"A B\" is no name", "f:13: custom_response_headers: A has a value of more",
		"f:14: custom_response_headers: write it as", "f:15: telemetry: unauthenticated_pprof_access: this needs a token", "f:16: listener \"127.0.0.1:8200\": telemetry: disallow_metrics contradicts",
		"f:17: listener \"127.0.0.1:8200\": tls_disable contradicts", "f:18: listener \"127.0.0.1:8200\": tls_cert_file and tls_key_file go", "f:18: listener \"127.0.0.1:8200\": tls_disable_client_certs contradicts",
		"f:19: telemetry: statsd_address: metrics are not sent anywhere", "f:20: otlp_endpoint: must be a URL", "f:21: trace_ratio: must be above 0", "f:22: telemetry: unknown setting \"tracing\"",
		"f:23: unknown setting \"loglevel\" (did you mean log_level?)"}
	_, err := ParseConfig("f", []byte(src))
	lines := strings.Split(fmt.Sprint(err), "\n")
	for i, w := range wants {
		if i >= len(lines) || !strings.HasPrefix(lines[i], w) {
			t.Fatalf("line %d is not %q:\n%v", i+1, w, err)
		}
	}
	if len(lines) != len(wants) {
		t.Errorf("%d mistakes, want %d:\n%v", len(lines), len(wants), err)
	}
}

func TestSyntaxErrorHasLine(t *testing.T) {
	_, err := ParseConfig("f", []byte("log_level = \"info\"\nlistener \"tcp\" {\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "f:3: ") && !strings.HasPrefix(err.Error(), "f:2: ") {
		t.Fatal(err)
	}
}

func TestConfigDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, src := range map[string]string{"b.hcl": `log_level = "warn"`, "a.json": `{"log_level": "info", "cluster_name": "c"}`, "notes.txt": "%", ".hidden.hcl": "%"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := LoadConfig(dir)
	if err != nil || c.LogLevel != "warn" || c.ClusterName != "c" {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := LoadConfig(t.TempDir()); err == nil || !strings.Contains(err.Error(), "has no file that ends with .hcl or .json") {
		t.Fatal(err)
	}
}

// node is a development server whose clock and log a test holds.
type node struct {
	*Listeners
	ahead atomic.Int64 // of the machine's clock
	log   logLines
}

// logLines is a log that is written and read at once.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func serveNode(t *testing.T, l Listener) *node {
	t.Helper()
	n := &node{}
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{l}}
	ls, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Listeners = ls
	s, err := Open(t.Context(), c, slog.New(slog.NewTextHandler(&n.log, nil)), io.Discard, func() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, ls) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// A certificate is read anew without a signal; a bad one is told of once and the
// one before stays.
func TestCertificatesAreWatched(t *testing.T) {
	a := newAuthority(t)
	first := a.issue("server", &x509.Certificate{})
	n := serveNode(t, a.listener())
	served := func() *x509.Certificate {
		t.Helper()
		resp, err := a.get(n.URLs[0], &tls.Config{})
		a.must(err)
		return resp.TLS.PeerCertificates[0]
	}
	if !served().Equal(first) {
		t.Fatal("another certificate is served")
	}
	second := a.issue("server", &x509.Certificate{})
	a.must(os.Chtimes(a.file("server.crt"), time.Time{}, time.Now().Add(time.Minute)))
	if !served().Equal(first) {
		t.Fatal("the files are looked at more than once a second")
	}
	n.ahead.Add(int64(2 * time.Second))
	if !served().Equal(second) {
		t.Fatal("the changed certificate is not served")
	}
	a.must(os.WriteFile(a.file("server.crt"), []byte("garbage"), 0o600))
	for range 3 {
		n.ahead.Add(int64(2 * time.Second))
		if !served().Equal(second) {
			t.Fatal("a broken file took the certificate away")
		}
	}
	if got := strings.Count(n.log.String(), "the changed certificate cannot be read"); got != 1 {
		t.Fatalf("the broken file is told of %d times:\n%s", got, n.log.String())
	}
}

// The authority of clients is read anew as the certificate is.
func TestClientAuthorityIsWatched(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	a.issue("server", &x509.Certificate{})
	b.issue("client", &x509.Certificate{})
	l := a.listener()
	l.ClientCA, l.RequireClient = a.file("clients.crt"), true
	copyFile := func(from string) {
		raw, err := os.ReadFile(from)
		a.must(err)
		a.must(os.WriteFile(l.ClientCA, raw, 0o600))
	}
	copyFile(a.file("ca.crt"))
	n := serveNode(t, l)
	pair, err := tls.LoadX509KeyPair(b.file("client.crt"), b.file("client.key"))
	a.must(err)
	ask := func() error {
		_, err := a.get(n.URLs[0], &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }})
		return err
	}
	if ask() == nil {
		t.Fatal("a stranger's client was let in")
	}
	copyFile(b.file("ca.crt"))
	a.must(os.Chtimes(l.ClientCA, time.Time{}, time.Now().Add(time.Minute)))
	n.ahead.Add(int64(2 * time.Second))
	if err := ask(); err != nil {
		t.Fatal(err)
	}
}

// over sends one request on a connection of its own, after what precedes it.
func over(t *testing.T, network, address, before, headers string) (*http.Response, error) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			_, err = io.WriteString(c, before)
		}
		return c, err
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/v1/auth/token/lookup-self", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Vault-Token", "root")
	for h := range strings.Lines(headers) {
		name, value, _ := strings.Cut(strings.TrimSpace(h), ": ")
		r.Header.Add(name, value)
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	return resp, resp.Body.Close()
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	n := serveNode(t, Listener{Address: path, Unix: true, SocketMode: 0o660, SocketUser: fmt.Sprint(os.Getuid()), SocketGroup: fmt.Sprint(os.Getgid())})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 || n.URLs[0] != "unix://"+path {
		t.Fatalf("%v, %v, %v", info, n.URLs, err)
	}
	if resp, err := over(t, "unix", path, "", ""); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	second := Config{Listeners: []Listener{{Address: path, Unix: true}}}
	if _, err := Listen(&second); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("the socket was taken away: %v", err)
	}
}

func TestSocketLeftBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	c := Config{Listeners: []Listener{{Address: path, Unix: true}}}
	ls, err := Listen(&c)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if err := ls.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(&c); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Fatal(err)
	}
	c.Listeners[0] = Listener{Address: path + "2", Unix: true, SocketGroup: "no such group"}
	if _, err := Listen(&c); err == nil || !strings.Contains(err.Error(), "socket_group") {
		t.Fatal(err)
	}
}

func TestProxyProtocol(t *testing.T) {
	v1 := "PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\x7f\x00\x00\x01\x15\xb3\x00\x50"
	for _, try := range []struct {
		name, behavior, from, before, seen string
	}{
		{"version 1", proxyAlways, "", v1, "192.0.2.7"},
		{"version 2", proxyAlways, "", v2, "192.0.2.8"},
		{"no header", proxyAlways, "", "", "127.0.0.1"},
		{"authorised", proxyAllow, "127.0.0.0/8", v1, "192.0.2.7"},
		{"not authorised is ignored", proxyAllow, "10.0.0.0/8", v1, "127.0.0.1"},
		{"authorised, strictly", proxyDeny, "127.0.0.0/8", v1, "192.0.2.7"},
		{"not authorised is denied", proxyDeny, "10.0.0.0/8", v1, ""},
		{"not authorised and no header is denied", proxyDeny, "10.0.0.0/8", "", ""},
		{"broken", proxyAlways, "", "PROXY TCP4 nonsense\r\n", ""},
	} {
		t.Run(try.name, func(t *testing.T) {
			l := Listener{Address: "127.0.0.1:0", ProxyProtocol: try.behavior}
			if try.from != "" {
				l.ProxyFrom = prefixes(t, try.from)
			}
			seen, err := seenFrom(t, &l, try.before, "")
			if seen != try.seen || (err != nil) != (try.seen == "") {
				t.Fatalf("seen as %q, want %q: %v", seen, try.seen, err)
			}
		})
	}
}

// seenFrom serves one request on a listener as the server does, and is the address
// that its handler sees.
func seenFrom(t *testing.T, l *Listener, before, headers string) (string, error) {
	t.Helper()
	c := &Config{DevRoot: api.NewSecret("root"), Listeners: []Listener{*l}}
	ls, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range ls.counts {
		c.log, c.now = quiet(), time.Now
	}
	var seen string
	s, err := Open(t.Context(), c, quiet(), io.Discard, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	hs := s.http()
	hs.Handler = s.front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			t.Error(err)
		}
		seen = host
		w.WriteHeader(http.StatusNotFound)
	}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.serve(ctx, hs, ls.open) }()
	defer func() {
		stop()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	}()
	resp, err := over(t, "tcp", ls.open[0].Addr().String(), before, headers)
	if err == nil && resp.StatusCode == http.StatusBadRequest {
		return "", fmt.Errorf("refused")
	}
	return seen, err
}

func TestForwardedFor(t *testing.T) {
	for _, try := range []struct {
		name, from, headers, seen string
		change                    func(*Forwarded)
	}{
		{name: "off", headers: "X-Forwarded-For: 192.0.2.1", seen: "127.0.0.1"},
		{name: "one", from: "127.0.0.1/32", headers: "X-Forwarded-For: 192.0.2.1", seen: "192.0.2.1"},
		{name: "the client's own are not believed", from: "127.0.0.1/32", headers: "X-Forwarded-For: 10.0.0.1\nX-Forwarded-For: 10.0.0.2, 192.0.2.1", seen: "192.0.2.1"},
		{name: "version 6", from: "127.0.0.1/32", headers: "X-Forwarded-For: 2001:db8::1", seen: "2001:db8::1"},
		{name: "hops", from: "127.0.0.1/32", headers: "X-Forwarded-For: 10.0.0.1, 192.0.2.1, 192.0.2.2", seen: "192.0.2.1", change: func(f *Forwarded) { f.Hops = 1 }},
		{name: "too many hops", from: "127.0.0.1/32", headers: "X-Forwarded-For: 192.0.2.2", change: func(f *Forwarded) { f.Hops = 1 }},
		{name: "garbage", from: "127.0.0.1/32", headers: "X-Forwarded-For: unknown"},
		{name: "absent", from: "127.0.0.1/32"},
		{name: "absent and allowed", from: "127.0.0.1/32", seen: "127.0.0.1", change: func(f *Forwarded) { f.AllowMissing = true }},
		{name: "a stranger", from: "10.0.0.0/8", headers: "X-Forwarded-For: 192.0.2.1"},
		{name: "a stranger who is allowed", from: "10.0.0.0/8", headers: "X-Forwarded-For: 192.0.2.1", seen: "127.0.0.1", change: func(f *Forwarded) { f.AllowOthers = true }},
	} {
		t.Run(try.name, func(t *testing.T) {
			l := Listener{Address: "127.0.0.1:0"}
			if try.from != "" {
				l.Forwarded.From = prefixes(t, try.from)
			}
			if try.change != nil {
				try.change(&l.Forwarded)
			}
			if seen, err := seenFrom(t, &l, "", try.headers); seen != try.seen || (err != nil) != (try.seen == "") {
				t.Fatalf("seen as %q, want %q: %v", seen, try.seen, err)
			}
		})
	}
}

func TestResponseHeaders(t *testing.T) {
	n := serveNode(t, Listener{Address: "127.0.0.1:0", Headers: ResponseHeaders{
		"default": {"X-All": {"a"}, "X-Kind": {"any"}}, "2xx": {"X-Kind": {"fine"}}, "404": {"X-Kind": {"lost"}}}})
	for path, kind := range map[string]string{"/v1/sys/health": "fine", "/v1/no/such": "any", "/none": "lost"} {
		resp, err := http.Get(n.URLs[0] + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("X-All") != "a" || resp.Header.Get("X-Kind") != kind {
			t.Errorf("%s: %d with %v", path, resp.StatusCode, resp.Header)
		}
	}
}

// A proxy's connections are not bounded as one client's.
func TestProxiesAreManyClients(t *testing.T) {
	l := &limited{proxies: prefixes(t, "192.0.2.0/24")}
	for address, own := range map[string]bool{"192.0.2.1": false, "198.51.100.1": true, "127.0.0.1": false} {
		if who := l.client(&net.TCPAddr{IP: net.ParseIP(address), Port: 1}); who.IsValid() != own {
			t.Errorf("%s: %v", address, who)
		}
	}
}

func TestLogFile(t *testing.T) {
	dir := t.TempDir()
	var stderr strings.Builder
	out, file, err := (&Config{LogFile: dir}).openLog(&stderr)
	if err != nil {
		t.Fatal(err)
	}
	log := NewLogger(&Config{}, out)
	log.Info("one")
	path := filepath.Join(dir, "strongroom.log")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	log.Info("two")
	if err := file.reopen(); err != nil {
		t.Fatal(err)
	}
	log.Info("three")
	if err := file.close(); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string][]bool{path: {false, false, true}, path + ".1": {true, true, false}} {
		text, err := os.ReadFile(p)
		for i, word := range []string{"one", "two", "three"} {
			if err != nil || strings.Contains(string(text), "msg="+word) != want[i] || !strings.Contains(stderr.String(), "msg="+word) {
				t.Errorf("%s: %s, %v", p, text, err)
			}
		}
	}
	if _, _, err := (&Config{LogFile: filepath.Join(dir, "no", "such")}).openLog(&stderr); err == nil {
		t.Error("a file that cannot be made is not told of")
	}
}
