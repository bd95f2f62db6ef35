package cli

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// What comes to the program without the name of its wait changes nothing; of what comes with it, the first counts.
func TestWhatABrowserBrings(t *testing.T) {
	w := &passkeyWait{page: "https://vault.example.com/v1/sys/mfa/passkey#x", begin: "/secret", state: "state", done: make(chan string, 1)}
	s := httptest.NewServer(w.handler())
	t.Cleanup(s.Close)
	post := func(form url.Values) int {
		resp, err := http.PostForm(s.URL+"/passkey", form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() //nolint:errcheck // nothing of it is read
		return resp.StatusCode
	}
	for _, form := range []url.Values{{}, {"credential": {"x"}}, {"state": {""}, "credential": {"x"}}, {"state": {"other"}, "credential": {"x"}}, {"state": {"state"}, "credential": {strings.Repeat("x", 1<<17)}}} {
		if code := post(form); code != http.StatusBadRequest {
			t.Errorf("%.60v is answered %d", form, code)
		}
	}
	if code := post(url.Values{"state": {"state"}, "credential": {"right"}}); code != http.StatusOK {
		t.Errorf("what is waited for is answered %d", code)
	}
	post(url.Values{"state": {"state"}, "credential": {"later"}})
	if got := <-w.done; got != "right" {
		t.Errorf("brought %q", got)
	}
	for path, want := range map[string]int{"/secret": http.StatusFound, "/": http.StatusNotFound, "/passkey": http.StatusMethodNotAllowed} {
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := client.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() //nolint:errcheck // nothing of it is read
		if resp.StatusCode != want || (want == http.StatusFound) != (resp.Header.Get("Location") == w.page) {
			t.Errorf("%s is answered %d, %s", path, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
}

func TestPageAddress(t *testing.T) {
	const first, second = "https://a.example.com", "https://b.example.com:8200"
	for _, c := range []struct {
		server  string
		origins []string
		want    string
	}{
		{"https://b.example.com:8200", []string{first, second}, second + passkeyPage},
		{"https://B.example.com:8200", []string{first, second}, second + passkeyPage},
		{"https://10.0.0.1:8200", []string{first, second}, first + passkeyPage},
		{"https://10.0.0.1:8200", []string{"javascript:alert(1)"}, ""},
		{"https://10.0.0.1:8200", nil, ""},
	} {
		if got, err := pageAddress(c.server, c.origins); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %v: %q, %v, want %q", c.server, c.origins, got, err, c.want)
		}
	}
}
