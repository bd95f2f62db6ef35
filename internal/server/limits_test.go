package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

func TestLimitsAreRead(t *testing.T) {
	c, err := ParseConfig("f", []byte(`listener "tcp" {
  max_request_size         = 1048576
  max_request_json_memory  = "2000000"
  max_request_json_strings = 1000
  max_request_duration     = "90s"
  http_read_header_timeout = "5s"
  http_read_timeout        = 30
  http_write_timeout       = "2m"
  http_idle_timeout        = "1m"
}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Limits{1 << 20, 2_000_000, 1000, 90 * time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, time.Minute}
	if got := c.Listeners[0].Limits; got != want {
		t.Errorf("%+v", got)
	}
	for _, line := range []string{`max_request_size = -1`, `max_request_size = 33554433`, `max_request_size = "1MB"`, `max_request_json_strings = 50001`, `max_request_json_strings = -1`, `http_idle_timeout = "-1s"`, `max_request_duration = "soon"`} {
		name, _, _ := strings.Cut(line, " ")
		if _, err := ParseConfig("f", []byte("listener \"tcp\" {\n"+line+"\n}")); err == nil || !strings.Contains(err.Error(), "f:2: "+name+": ") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// limitedServer serves one listener without limits and one with, and gives both addresses.
func limitedServer(t *testing.T, l Limits) (free, bound string) {
	t.Helper()
	w := start(t, Config{DevRoot: api.NewSecret("root")})
	w.config.Listeners = append(w.config.Listeners, Listener{Address: "127.0.0.1:0", Limits: l})
	if err := w.mountSecret(t.Context(), "2"); err != nil && !strings.Contains(err.Error(), "already") {
		t.Fatal(err)
	}
	ls, err := Listen(w.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Serve(ctx, ls) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w.end()
	})
	return ls.URLs[0], ls.URLs[1]
}

func TestLimitsAreKept(t *testing.T) {
	free, bound := limitedServer(t, Limits{Body: 100 << 10, Memory: 1500, Values: 10, Header: 50 * time.Millisecond})
	values := `{"data":{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 11), ",") + `]}}`
	for name, c := range map[string]struct {
		body string
		want int
		says string
	}{
		"small":       {`{"data":{"a":"b"}}`, 200, ""},
		"too large":   {`{"data":{"a":"` + strings.Repeat("x", 1500) + `"}}`, 413, "1500 bytes"},
		"many values": {values, 400, "at most 10"},
	} {
		for where, url := range map[string]string{"free": free, "bound": bound} {
			want, says := c.want, c.says
			if where == "free" {
				want, says = 200, ""
			}
			req, err := http.NewRequest("POST", url+"/v1/secret/data/a", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Vault-Token", "root")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.Body.Close() != nil || resp.StatusCode != want || !strings.Contains(string(text), says) {
				t.Errorf("%s on the %s listener: %d %s %v", name, where, resp.StatusCode, text, err)
			}
		}
	}
	if !cutOff(t, bound, 5*time.Second) {
		t.Error("a slow head on the bound listener is waited for")
	}
	if cutOff(t, free, 500*time.Millisecond) {
		t.Error("control: a slow head on the free listener is not waited for")
	}
}

// cutOff reports whether a server closes a connection on which nothing is sent.
func cutOff(t *testing.T, url string, within time.Duration) bool {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, err = bufio.NewReader(conn).ReadByte()
	return err == io.EOF
}

func TestDurationEndsARequest(t *testing.T) {
	var left time.Duration
	hs := Limits{Duration: time.Minute}.within(&http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if end, ok := r.Context().Deadline(); ok {
			left = time.Until(end)
		}
	})})
	hs.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if left <= 0 || left > time.Minute {
		t.Errorf("%v are left", left)
	}
}
