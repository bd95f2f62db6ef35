package outbound

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func caOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestAsksOnlyWhoItIsTold(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer other.Close()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/long":
			if _, err := w.Write(make([]byte, MaxBody+1)); err != nil {
				t.Logf("the client stopped reading: %v", err)
			}
		case "/slow":
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	p := Peer{CAPEM: caOf(s)}
	a, err := p.Do(t.Context(), http.MethodGet, s.URL+"/away", nil, nil)
	if err != nil || a.Status != http.StatusFound {
		t.Errorf("a redirect was answered %+v, %v", a, err)
	}
	for _, c := range []struct {
		peer Peer
		path string
	}{{p, "/long"}, {Peer{CAPEM: p.CAPEM, Timeout: time.Millisecond}, "/slow"}, {Peer{}, "/"}, {Peer{CAPEM: "x"}, "/"}} {
		_, err := c.peer.Do(t.Context(), http.MethodGet, s.URL+c.path+"?key=hidden", nil, nil)
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: got %v, want an error that does not tell the URL", c.path, err)
		}
	}
}
