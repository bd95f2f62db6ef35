package outbound

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestCheckURL(t *testing.T) {
	for text, want := range map[string]bool{
		"https://login.example.com": true, "https://login.example.com/t/v2.0?x=1": true, "http://127.0.0.1:8080/keys": true, "http://localhost/keys": true, "http://[::1]/keys": true,
		"": false, "login.example.com": false, "http://login.example.com": false, "http://127.0.0.1.example.com": false, "https://u@login.example.com": false, "https://login.example.com/#x": false,
		"ftp://login.example.com": false, "ftp://localhost/keys": false, "https:///keys": false, "file:///keys": false, "http://localhost.example.com": false, "http://10.0.0.1": false, "javascript:alert(1)": false, "https://a b": false,
		"https://login.example.com:8443": true, "https://:443": false, "https://login.example.com:0": false, "https://login.example.com:70000": false, "https://login.example.com/#": false,
	} {
		if err := CheckURL(text); (err == nil) != want || err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
		if err := CheckBase(text); (err == nil) != (want && !strings.Contains(text, "?")) {
			t.Errorf("%q, before a path: %v", text, err)
		}
	}
	if long := "https://login.example.com/" + strings.Repeat("x", MaxBase); CheckURL(long) != nil || CheckBase(long) == nil {
		t.Error("the length of an address before a path is not bounded, or that of any is")
	}
}

func TestCheckCA(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	good := caOf(s)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for what, c := range map[string]struct {
		text  string
		taken bool
	}{
		"nothing": {"", true}, "one": {good, true}, "two, with words between": {"# ours\n" + good + "# and theirs\n" + good + "\n", true},
		"a file's name": {"ca.pem", false}, "a private key beside it": {good + private, false}, "a private key": {private, false}, "another kind of bytes": {strings.ReplaceAll(private, "PRIVATE KEY", "CERTIFICATE"), false},
		"one that is cut off": {good + good[:len(good)/2], false}, "one that is damaged, before another": {strings.Replace(good, "M", "*", 1) + good, false}, "space": {" \n", false},
		"one by another name": {strings.ReplaceAll(good, "CERTIFICATE", "TRUSTED CERTIFICATE"), false}, "one with a header": {strings.Replace(good, "-----\n", "-----\nName: x\n\n", 1), false},
	} {
		if err := CheckCA(c.text); (err == nil) != c.taken || err != nil && !strings.Contains(err.Error(), "in PEM") {
			t.Errorf("%s: %v", what, err)
		}
		if pool, err := Pool(c.text); c.taken && (err != nil || (pool == nil) != (c.text == "")) {
			t.Errorf("%s is taken, and then is no pool: %v", what, err)
		}
	}
}

// Why nobody could be asked is told without the address, and without what the machine knows of it.
func TestWhy(t *testing.T) {
	mute := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer mute.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	safe := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write(make([]byte, MaxBody+1)); err != nil {
			t.Logf("the client stopped reading: %v", err)
		}
	}))
	defer safe.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := gone.Addr().String()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		peer         Peer
		target, says string
	}{
		{Peer{}, "http://" + at, "nothing answers"}, {Peer{Timeout: time.Millisecond}, mute.URL, "in time"}, {Peer{}, strings.Replace(plain.URL, "http:", "https:", 1), "speak TLS"},
		{Peer{}, safe.URL, "no authority"}, {Peer{CAPEM: caOf(safe)}, strings.Replace(safe.URL, "127.0.0.1", "localhost", 1), "another host"}, {Peer{CAPEM: caOf(safe)}, safe.URL, "longer than"},
		{Peer{}, "http://name.invalid", "not known"}, {Peer{}, "http://%", "not be reached"},
	} {
		_, err := c.peer.Do(t.Context(), http.MethodGet, c.target, nil, nil)
		if err == nil {
			t.Errorf("%s: answered", c.target)
			continue
		}
		if why := Why(err); !strings.Contains(why, c.says) || strings.Contains(why, "127.0.0.1") || strings.Contains(why, "name.invalid") || strings.Contains(why, "localhost") {
			t.Errorf("%s: %v is told as %q, want %q", c.target, err, why, c.says)
		}
	}
}
