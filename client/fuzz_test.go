package client

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzAddress checks that what is accepted as an address leads requests to its
// own host and nowhere else, whatever their path.
func FuzzAddress(f *testing.F) {
	f.Add("https://127.0.0.1:8200", "secret/data/a")
	f.Add("unix:///run/s", "a b%2e?x#y")
	f.Add("http://[::1]:1/prefix/", "//elsewhere/x")
	f.Fuzz(func(t *testing.T, address, path string) {
		c, err := New(Config{Address: address})
		if err != nil {
			return
		}
		req, err := c.NewRequest(t.Context(), Request{Path: path})
		if err != nil {
			return
		}
		if req.URL.Scheme != c.nodes[0].Scheme || req.URL.Host != c.nodes[0].Host || req.URL.RawQuery != "" {
			t.Fatalf("%q with path %q goes to %s", address, path, req.URL)
		}
		if !strings.HasPrefix(req.URL.Path, c.nodes[0].Path+"/v1/") {
			t.Fatalf("%q with path %q goes to %s", address, path, req.URL)
		}
	})
}

// FuzzBareAnswer checks that an object is either an envelope or all data, and that
// nothing of a bare one is lost.
func FuzzBareAnswer(f *testing.F) {
	f.Add([]byte(`{"sealed":true,"t":3}`))
	f.Add([]byte(`{"data":null,"x":1}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := parseSecret(body)
		if err != nil || s == nil || s.orBare(body) != nil {
			return
		}
		var object map[string]any
		if err := decode(body, &object); err != nil {
			t.Fatalf("%q was taken for an object: %v", body, err)
		}
		if _, bare := object["sealed"]; bare && len(object) == 1 && s.Data["sealed"] != object["sealed"] {
			t.Fatalf("%q became %v", body, s.Data)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("3", "")
	f.Add("Wed, 21 Oct 2015 07:28:04 GMT", "Wed, 21 Oct 2015 07:28:00 GMT")
	f.Add("-1", "x")
	f.Fuzz(func(t *testing.T, after, date string) {
		h := http.Header{"Retry-After": {after}, "Date": {date}}
		if d := pause(0, h); d < 0 || d > maxWait {
			t.Fatalf("Retry-After %q at %q waits %v", after, date, d)
		}
	})
}
