package blackbox

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// answered counts the answers of a path that the audit device holds and that are
// no failures.
func answered(audit []byte, path string) int64 {
	var n int64
	for line := range bytes.SplitSeq(audit, []byte("\n")) {
		if bytes.Contains(line, []byte(`"type":"response"`)) && bytes.Contains(line, []byte(`"path":"`+path+`"`)) && !bytes.Contains(line, []byte(`"error":`)) {
			n++
		}
	}
	return n
}

// TestSealUnderLoad seals while requests are in flight: each is answered or
// refused, and none is answered that is not written down.
func TestSealUnderLoad(t *testing.T) {
	for range 5 {
		s := furnished(t)
		var ok, refused atomic.Int64
		var all sync.WaitGroup
		begun := make(chan struct{}, 64)
		for range 8 {
			all.Go(func() {
				for range 200 {
					a, err := s.Try("GET", "kv1/a", root, "")
					switch {
					case err != nil:
						t.Error(err)
						return
					case a.Status == 200:
						ok.Add(1)
					case a.Status == 503:
						refused.Add(1)
					default:
						t.Errorf("%d %s", a.Status, a.Body)
					}
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 40 {
			<-begun
		}
		s.Want(t, 204, "PUT", "sys/seal", root, "")
		all.Wait()
		if written := answered(s.Audit.Bytes(), "kv1/a"); written < ok.Load() {
			t.Errorf("%d were answered and %d written down", ok.Load(), written)
		}
		if refused.Load() == 0 {
			t.Log("all requests were faster than the seal")
		}
		s.Want(t, 503, "GET", "kv1/a", root, "")
	}
}

// TestClientsThatLeave cuts connections in the midst of requests of all kinds;
// the server serves on and holds nothing.
func TestClientsThatLeave(t *testing.T) {
	s := furnished(t)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 10 {
				conn, err := net.Dial("tcp", s.Addr)
				if err != nil {
					t.Error(err)
					return
				}
				body := fmt.Sprintf(`{"data":{"k":"%d"}}`, i)
				text := fmt.Sprintf("POST /v1/secret/data/left HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\r\nContent-Length: %d\r\n\r\n%s", root, len(body)+j%3*5, body)
				fmt.Fprint(conn, text[:len(text)-j%4])
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var a *servertest.Answer
	for range 20 { // what was sent in full is done, if late
		s.Want(t, 200, "POST", "secret/data/left", root, `{"data":{"k":"last"}}`)
		if a = s.Want(t, 200, "GET", "secret/data/left", root, ""); a.String("data", "data", "k") == "last" {
			break
		}
	}
	if a.String("data", "data", "k") != "last" {
		t.Errorf("%s", a.Body)
	}
	if strings.Contains(string(s.Log.Bytes()), "panicked") {
		t.Errorf("%s", s.Log.Bytes())
	}
}
