package cli

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
)

// What comes from a process of another user of the machine is not heard; whose a connection is that the system knows, it
// says.
func TestVisitorsAreTheUsersOwn(t *testing.T) {
	for _, c := range []struct {
		uid   int
		known bool
		want  int
	}{{1000, true, 200}, {0, true, 200}, {1001, true, 403}, {65534, true, 403}, {0, false, 200}, {1001, false, 200}} {
		v := &visitors{owner: func(netip.AddrPort, netip.AddrPort) (int, bool) { return c.uid, c.known }, users: []int{0, 1000}}
		s := httptest.NewServer(v.admit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		resp, err := http.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() //nolint:errcheck // nothing of it is read
		if s.Close(); resp.StatusCode != c.want {
			t.Errorf("user %d, known %v: answered %d", c.uid, c.known, resp.StatusCode)
		}
	}
}

func TestConnectionOwner(t *testing.T) {
	tells := runtime.GOOS == "linux"
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Logf("%s: %v", at, err) // a machine without IPv6
			continue
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, here := netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(l.Addr().String())
		if uid, known := connectionOwner(peer, here); known != tells || known && uid != os.Getuid() {
			t.Errorf("%s: %d, %v", at, uid, known)
		}
		if uid, known := connectionOwner(netip.AddrPortFrom(peer.Addr(), 1), here); known {
			t.Errorf("%s: a connection that is not there is user %d's", at, uid)
		}
		if c.Close() != nil || l.Close() != nil {
			t.Error("not closed")
		}
	}
}

func TestConnectionTable(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1
   2: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1002        0 3 1
   3: short
`
	here := netip.MustParseAddrPort("127.0.0.1:8080")
	for peer, want := range map[string]int{"127.0.0.1:50000": 1001, "[::ffff:127.0.0.1]:50001": 1002, "127.0.0.1:50001": 1002, "127.0.0.1:50002": -1, "127.0.0.2:50000": -1} {
		uid, known := ownerIn(strings.NewReader(table), netip.MustParseAddrPort(peer), here)
		if known != (want >= 0) || known && uid != want {
			t.Errorf("%s: %d, %v, want %d", peer, uid, known, want)
		}
	}
}
