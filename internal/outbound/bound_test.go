package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

func bound(t testing.TB, list ...string) *Bound {
	t.Helper()
	b, err := ParseBound(list)
	if err != nil {
		t.Fatalf("%q: %v", list, err)
	}
	return b
}

func TestBound(t *testing.T) {
	for _, c := range []struct {
		list       string
		yes, noWay string // with spaces between
	}{
		{"network", "10.0.0.1:636 192.168.1.1:389 93.184.215.14:443 100.64.0.1:443 [2001:db8::1]:443 [fd12::1]:443 [::ffff:10.0.0.1]:443 [64:ff9b::5db8:d70e]:443",
			"127.0.0.1:389 127.8.9.10:389 0.0.0.0:80 0.1.2.3:80 169.254.169.254:80 169.254.170.2:80 224.0.0.1:1812 255.255.255.255:1812 168.63.129.16:80 100.100.100.200:80 192.0.0.192:80 " +
				"[::1]:443 [::]:443 [fe80::1%25lo]:443 [fe80::1]:443 [ff02::1]:443 [fd00:ec2::254]:80 [fd00:ec2::23]:80 [fd20:ce::254]:80 " +
				"[::ffff:127.0.0.1]:443 [::ffff:169.254.169.254]:80 [64:ff9b::7f00:1]:80 [64:ff9b::a9fe:a9fe]:80 [2002:7f00:1::]:80 [2002:a9fe:a9fe::1]:80"},
		{"10.1.0.0/16 2001:db8::/32 192.0.2.7 127.0.0.1:636 [::1]:389", "10.1.2.3:1 [2001:db8::5]:1 192.0.2.7:9 127.0.0.1:636 [::1]:389 [::ffff:10.1.2.3]:1 [::ffff:127.0.0.1]:636",
			"10.2.0.1:1 127.0.0.1:637 [::1]:636 192.0.2.8:9 93.184.215.14:443 169.254.169.254:80"},
		{"network 127.0.0.1:389", "127.0.0.1:389 10.0.0.1:1", "127.0.0.1:390 127.0.0.2:389"},
		{"idp.example.com:443", "", "93.184.215.14:443"},
		{"", "", "93.184.215.14:443 127.0.0.1:1"},
	} {
		b := bound(t, strings.Fields(c.list)...)
		for want, list := range map[bool]string{true: c.yes, false: c.noWay} {
			for _, text := range strings.Fields(list) {
				at, err := netip.ParseAddrPort(strings.Replace(text, "%25", "%", 1))
				if err != nil {
					t.Fatal(err)
				}
				if b.reaches(at) != want || b.judge(at.String()) != want {
					t.Errorf("%s within %q: %v", text, c.list, !want)
				}
			}
		}
	}
	for _, bad := range []string{"idp.example.com", "idp.example.com:0", "idp.example.com:65536", "idp.example.com:ldap", ":443", "a b:443", "10.0.0.0/33", "::ffff:10.0.0.0/104", "fe80::1%lo", "[fe80::1%lo]:1", "https://idp.example.com", ""} {
		if _, err := ParseBound([]string{OnNetwork, bad}); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What is named can be told before anybody is asked, as far as it is an address or this machine.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		list, address string
		want          bool
	}{
		{"network", "localhost:389", false}, {"network", "LocalHost.:389", false}, {"network", "x.localhost:389", false}, {"network", "idp.example.com:443", true}, {"network", "169.254.169.254:80", false},
		{"idp.example.com:443", "IdP.Example.com:443", true}, {"idp.example.com:443", "idp.example.com:80", false}, {"idp.example.com:443", "other.example.com:443", false},
		{"10.0.0.0/8", "other.example.com:443", true}, {"127.0.0.1:389", "localhost:389", true}, {"network", "no-port", false}, {"*", "127.0.0.1:1", true},
	} {
		ctx := Within(t.Context(), bound(t, strings.Fields(c.list)...))
		err := Judge(ctx, "url", c.address)
		if (err == nil) != c.want || err != nil && (api.KindOf(err) != api.Invalid || !strings.HasPrefix(err.Error(), "url: ") || !strings.Contains(err.Error(), "auth_namespace_peers") || strings.Contains(err.Error(), c.address)) {
			t.Errorf("%s within %q: %v", c.address, c.list, err)
		}
		if err := Judge(t.Context(), "url", c.address); err != nil {
			t.Errorf("without a bound: %v", err)
		}
	}
	ctx := Within(t.Context(), bound(t, "127.0.0.1:80", "127.0.0.1:443"))
	for text, want := range map[string]bool{"http://127.0.0.1/keys": true, "https://127.0.0.1": true, "https://127.0.0.1:8443": false, "http://[::1]/": false, "https://a b": false} {
		if err := JudgeURL(ctx, "url", text); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// door is a listener on this machine that counts who connects.
type door struct {
	port string
	in   atomic.Int32
}

func openDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{}
	_, d.port, _ = net.SplitHostPort(l.Addr().String())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.in.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return d
}

// What counts is the address that is connected to: a name of somebody else's may stand for this machine when that comes.
func TestDialStaysWithin(t *testing.T) {
	d := openDoor(t)
	for _, c := range []struct {
		list, host string
		want       bool
	}{
		{"network", "localhost", false}, {"network", "127.0.0.1", false}, {"10.0.0.0/8", "localhost", false}, {"localhost:1", "localhost", false},
		{"localhost:" + d.port, "localhost", true}, {"127.0.0.0/8", "localhost", true}, {"127.0.0.1:" + d.port, "127.0.0.1", true}, {"*", "localhost", true},
	} {
		before := d.in.Load()
		conn, err := Dial(Within(t.Context(), bound(t, strings.Fields(c.list)...)), "tcp", c.host+":"+d.port)
		if conn != nil {
			if _, err := conn.Read(make([]byte, 1)); err == nil { // until it has been counted
				t.Error("the door says something")
			}
			conn.Close()
		}
		if (err == nil) != c.want || (d.in.Load() > before) != c.want || (Forbidden(err) == nil) != c.want {
			t.Errorf("%s within %q: %v, %d have come in", c.host, c.list, err, d.in.Load()-before)
		}
	}
	if _, err := Dial(Within(t.Context(), bound(t, "network")), "udp", "localhost:"+d.port); Forbidden(err) == nil {
		t.Errorf("by UDP: %v", err)
	}
}

func TestRequestsStayWithin(t *testing.T) {
	d := openDoor(t)
	away := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:"+d.port, http.StatusFound))
	defer away.Close()
	ctx := Within(t.Context(), bound(t, strings.TrimPrefix(away.URL, "http://")))
	if a, err := (Peer{}).Do(ctx, http.MethodGet, away.URL, nil, nil); err != nil || a.Status != http.StatusFound || d.in.Load() > 0 {
		t.Errorf("%+v, %v, and %d have come in where it was sent on to", a, err, d.in.Load())
	}
	_, err := Peer{}.Do(ctx, http.MethodGet, "http://127.0.0.1:"+d.port, nil, nil)
	if f := Forbidden(err); f == nil || d.in.Load() > 0 {
		t.Errorf("%v, and %d have come in", err, d.in.Load())
	}
	if why := Why(err); !strings.Contains(why, "auth_namespace_peers") || strings.Contains(why, "127.0.0.1") {
		t.Errorf("is told as %s", why)
	}
	if _, err := (Peer{}).Do(t.Context(), http.MethodGet, "http://127.0.0.1:"+d.port, nil, nil); err == nil || d.in.Load() == 0 {
		t.Errorf("without a bound: %v, and %d have come in", err, d.in.Load())
	}
}

// A proxy is the operator's, wherever it is, and finds addresses itself: what is asked through it is named, or is an address.
func TestProxiedRequestsStayWithin(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer proxy.Close()
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := Peer{proxy: http.ProxyURL(via)}
	for _, c := range []struct {
		list, target string
		want         bool
	}{
		{"network", "http://crl.example.com/x", false}, {"network", "http://10.0.0.1/x", true}, {"network", "http://169.254.169.254/x", false}, {"10.0.0.0/8", "http://crl.example.com/x", false},
		{"crl.example.com:80", "http://crl.example.com/x", true}, {"crl.example.com:443", "http://crl.example.com/x", false}, {"*", "http://127.0.0.1/x", true},
	} {
		before := asked.Load()
		a, err := p.Do(Within(t.Context(), bound(t, c.list)), http.MethodGet, c.target, nil, nil)
		if (err == nil) != c.want || (asked.Load() > before) != c.want || (Forbidden(err) == nil) != c.want || a != nil && a.Status != http.StatusTeapot {
			t.Errorf("%s within %s: %+v, %v", c.target, c.list, a, err)
		}
	}
	p.proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("http://user:hunter2@") }
	if _, err := p.Do(t.Context(), http.MethodGet, "http://crl.example.com/x", nil, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a proxy that is no address: %v", err)
	}
}

func TestAway(t *testing.T) {
	if err := Away(context.DeadlineExceeded, "it is away", "wait"); err.Kind != api.Unavailable || !errors.Is(err, context.DeadlineExceeded) || err.Message != "it is away" {
		t.Errorf("%+v", err)
	}
	if err := Away(errors.Join(context.DeadlineExceeded, errForbidden), "it is away", "wait"); err.Kind != api.Invalid || !strings.Contains(err.Hint, "auth_namespace_peers") {
		t.Errorf("%+v", err)
	}
}
