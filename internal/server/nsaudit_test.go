package server_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// in is the header that asks in a namespace.
func in(ns string) []string { return []string{"X-Vault-Namespace", ns} }

// homes has namespaces keep audit files in a directory.
func homes(dir string) servertest.Option { return func(c *server.Config) { c.AuditHome = dir } }

// branchLog is what an audit file of a namespace holds.
type branchLog struct {
	t    testing.TB
	file string
	text string
}

func logOf(t testing.TB, s *servertest.Server, root, home, ns, name string) *branchLog {
	t.Helper()
	id := s.Want(t, 200, "GET", "sys/namespaces/"+filepath.Base(ns), root, "", in(strings.TrimSuffix(strings.TrimSuffix(ns, filepath.Base(ns)), "/"))...).String("data", "id")
	return &branchLog{t: t, file: filepath.Join(home, id, name)}
}

// read reads the file anew, and fails unless each line is an entry.
func (l *branchLog) read() *branchLog {
	l.t.Helper()
	b, err := os.ReadFile(l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	l.text = string(b)
	for line := range strings.Lines(l.text) {
		if !json.Valid([]byte(line)) {
			l.t.Errorf("torn: %.100q", line)
		}
	}
	return l
}

// has reports how many entries hold all of some texts.
func (l *branchLog) has(parts ...string) (n int) {
lines:
	for line := range strings.Lines(l.text) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue lines
			}
		}
		n++
	}
	return n
}

func (l *branchLog) wants(n int, parts ...string) {
	l.t.Helper()
	if got := l.read().has(parts...); got != n {
		l.t.Errorf("%s has %d entries with %q, want %d:\n%s", l.file, got, parts, n, l.text)
	}
}

const fileDevice = `{"type":"file","options":{"file_path":"a.log"}}`

// tenants makes namespaces, each with a mount kv/.
func tenants(t testing.TB, s *servertest.Server, root string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		dir, name := filepath.Split(p)
		s.Want(t, 200, "POST", "sys/namespaces/"+name, root, "", in(dir)...)
		s.Want(t, 204, "POST", "sys/mounts/kv", root, `{"type":"kv"}`, in(p)...)
	}
}

// The devices of a namespace have the entries of requests in it and below it, and of no
// others; those of the root namespace have all. Hashes of one are not those of another.
func TestNamespaceAuditDevices(t *testing.T) {
	home := t.TempDir()
	s := servertest.Start(t, homes(home))
	root := servertest.Root
	tenants(t, s, root, "a", "a/low", "b")
	for _, ns := range []string{"a", "a/low", "b"} {
		s.Want(t, 204, "POST", "sys/audit/file", root, fileDevice, in(ns)...)
	}
	a, low, b := logOf(t, s, root, home, "a", "a.log"), logOf(t, s, root, home, "a/low", "a.log"), logOf(t, s, root, home, "b", "a.log")
	s.Want(t, 204, "POST", "kv/one", root, `{"v":"tr0ub4dor"}`, in("a")...)
	s.Want(t, 204, "POST", "kv/two", root, `{"v":"tr0ub4dor"}`, in("a/low")...)
	s.Want(t, 204, "POST", "a/low/kv/three", root, `{"v":"tr0ub4dor"}`)
	s.Want(t, 204, "POST", "kv/four", root, `{"v":"tr0ub4dor"}`, in("b")...)
	s.Want(t, 200, "GET", "sys/mounts", root, "")
	a.wants(2, `"path":"kv/one"`)
	a.wants(2, `"path":"kv/two"`, `"path":"a/low/"`)
	a.wants(2, `"path":"kv/three"`)
	a.wants(0, `kv/four`)
	low.wants(0, `kv/one`)
	low.wants(2, `"path":"kv/two"`)
	low.wants(2, `"path":"kv/three"`)
	b.wants(2, `"path":"kv/four"`)
	for _, l := range []*branchLog{a, low, b} {
		l.wants(0, `"path":"sys/mounts","remote`)
		l.wants(0, "tr0ub4dor")
		l.wants(0, root+`"`) // the token from above
	}
	for _, path := range []string{"kv/one", "kv/two", "kv/three", "kv/four"} {
		if n := strings.Count(string(s.Audit.Bytes()), `"path":"`+path+`"`); n != 2 {
			t.Errorf("the root namespace's device has %d entries of %s", n, path)
		}
	}
	hashes := map[string]bool{}
	for ns, l := range map[string]*branchLog{"a": a, "a/low": low, "b": b} {
		hash := s.Want(t, 200, "POST", "sys/audit-hash/file", root, `{"input":"tr0ub4dor"}`, in(ns)...).String("data", "hash")
		if l.read().has(hash) == 0 {
			t.Errorf("the hash of %s is not that of its entries", ns)
		}
		hashes[hash] = true
	}
	hashes[s.Want(t, 200, "POST", "sys/audit-hash/tap", root, `{"input":"tr0ub4dor"}`).String("data", "hash")] = true
	if len(hashes) != 4 {
		t.Error("two devices hash alike")
	}
	if list := s.Want(t, 200, "GET", "sys/audit", root, "", in("b")...); list.Field("data", "tap/") != nil || list.Field("data", "file/") == nil {
		t.Errorf("another's devices are listed: %s", list.Text())
	}
	s.Want(t, 204, "DELETE", "sys/audit/file", root, "", in("b")...)
	s.Want(t, 200, "GET", "kv/four", root, "", in("b")...)
	b.wants(2, `"path":"kv/four"`)
}

// Logins that fail, requests of nobody, those to namespaces that do not exist, and answers
// that are taken out elsewhere are seen where they belong.
func TestNamespaceAuditOfStrangers(t *testing.T) {
	home := t.TempDir()
	s := servertest.Start(t, homes(home))
	root := servertest.Root
	tenants(t, s, root, "a", "b")
	for _, ns := range []string{"a", "b"} {
		s.Want(t, 204, "POST", "sys/audit/file", root, fileDevice, in(ns)...)
	}
	a, b := logOf(t, s, root, home, "a", "a.log"), logOf(t, s, root, home, "b", "a.log")
	s.Want(t, 204, "POST", "sys/auth/userpass", root, `{"type":"userpass"}`, in("a")...)
	s.Want(t, 400, "POST", "auth/userpass/login/eve", "", `{"password":"tr0ub4dor"}`, in("a")...)
	a.wants(1, `"type":"response"`, `"path":"auth/userpass/login/eve"`, `"error":`)
	s.Want(t, 403, "GET", "kv/x", "", "", in("a")...)
	s.Want(t, 403, "GET", "kv/x", "hvs.nothing", "", in("a")...)
	a.wants(4, `"path":"kv/x"`, "permission denied")
	s.Want(t, 404, "GET", "kv/y", root, "", in("a/none")...)
	s.Want(t, 403, "GET", "kv/y", "", "", in("a/none/more")...)
	a.wants(4, `kv/y"`)
	s.Want(t, 404, "GET", "kv/z", root, "", in("none")...)
	for _, l := range []*branchLog{a, b} {
		l.wants(0, "kv/z")
	}
	b.wants(0, "userpass")
	// A token of the namespace that is used outside it is nobody's business there.
	token := tokenOf(t, s, root, "a", `path "*" { capabilities = ["read","update"] }`)
	s.Want(t, 403, "GET", "kv/outside", token, "", in("b")...)
	b.wants(2, "kv/outside")
	a.wants(0, "kv/outside")
	// What was wrapped in a namespace and is taken out in another is in both logs.
	s.Want(t, 204, "POST", "kv/w", root, `{"v":"tr0ub4dor"}`, in("a")...)
	wrapped := s.Want(t, 200, "GET", "kv/w", root, "", "X-Vault-Namespace", "a", "X-Vault-Wrap-TTL", "60").String("wrap_info", "token")
	for _, l := range []*branchLog{a, b} { // who looks at it before is seen, too
		l.wants(0, `"path":"sys/wrapping/lookup"`)
	}
	s.Want(t, 200, "GET", "sys/wrapping/lookup", wrapped, "", in("b")...)
	s.Want(t, 200, "POST", "sys/wrapping/lookup", "", `{"token":"`+wrapped+`"}`, in("b")...)
	for _, l := range []*branchLog{a, b} {
		l.wants(4, `"path":"sys/wrapping/lookup"`)
	}
	wrapped = s.Want(t, 200, "POST", "sys/wrapping/rewrap", wrapped, "", in("b")...).String("wrap_info", "token")
	a.wants(2, `"path":"sys/wrapping/rewrap"`)
	s.Want(t, 200, "POST", "sys/wrapping/unwrap", wrapped, "", in("b")...)
	for _, l := range []*branchLog{a, b} {
		l.wants(2, `"path":"sys/wrapping/unwrap"`)
		l.wants(0, "tr0ub4dor")
	}
	s.Want(t, 400, "POST", "sys/wrapping/unwrap", root, `{"token":"`+wrapped+`"}`, in("b")...) // used up: nobody's
	a.wants(2, `"path":"sys/wrapping/unwrap"`)
}

// A request that passes two namespaces of one line, and a device that stands above both, is one request.
func TestNamespaceAuditOfOneLine(t *testing.T) {
	home := t.TempDir()
	s := servertest.Start(t, homes(home))
	root := servertest.Root
	tenants(t, s, root, "a", "a/low", "a/side")
	for _, ns := range []string{"a", "a/low", "a/side"} {
		s.Want(t, 204, "POST", "sys/audit/file", root, fileDevice, in(ns)...)
	}
	for i, asks := range []string{"a", "a/side", "a/low", ""} {
		wrapped := s.Want(t, 200, "POST", "sys/wrapping/wrap", root, `{"v":"w"}`, "X-Vault-Namespace", "a/low", "X-Vault-Wrap-TTL", "60").String("wrap_info", "token")
		s.Want(t, 200, "POST", "sys/wrapping/unwrap", wrapped, "", in(asks)...)
		for _, ns := range []string{"a", "a/low"} {
			logOf(t, s, root, home, ns, "a.log").wants(2*i+2, `"path":"sys/wrapping/unwrap"`)
		}
	}
	logOf(t, s, root, home, "a/side", "a.log").wants(2, `"path":"sys/wrapping/unwrap"`)
}

// gone is a peer that takes entries until it is ended, and then none.
func gone(t testing.TB) (address string, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			go func() {
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), sync.OnceFunc(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A device that is dead refuses the requests of its namespace and of those below, and no
// others, on all nodes; the namespace's admin finds and removes it, and so does who comes from above.
func TestDeadNamespaceAuditDevice(t *testing.T) {
	f := startNodesWith(t, 3, func(c *server.Config) { c.AuditPeers = []string{"*"} })
	one, two, root := f.all[0], f.all[1], f.root
	tenants(t, one, root, "a", "a/low", "b")
	admin := tokenOf(t, one, root, "a", `path "sys/audit*" { capabilities = ["read","update","delete","sudo"] }`)
	weak := tokenOf(t, one, root, "a/low", `path "*" { capabilities = ["read","update","delete"] }`)
	for i, remover := range []string{admin, root} {
		address, end := gone(t)
		defer end()
		one.Want(t, 204, "POST", "sys/audit/line", remover, `{"type":"socket","options":{"address":"`+address+`","deadline":"200ms"}}`, in("a")...)
		for _, n := range f.all {
			n.Want(t, 404, "GET", "kv/x", root, "", in("a")...) // it takes entries
		}
		end()
		for _, n := range f.all {
			waitFor(t, "the namespace is refused", func() bool {
				got, err := n.Try("GET", "kv/x", root, "", in("a")...)
				return err == nil && got.Status == 503
			})
			for _, ns := range []string{"a", "a/low"} {
				if got := n.Want(t, 503, "GET", "kv/x", root, "", in(ns)...); !strings.Contains(got.Text(), `line/\" of the namespace a/`) {
					t.Errorf("it is not named: %s", got.Text())
				}
			}
			n.Want(t, 404, "GET", "kv/x", root, "", in("b")...)
			n.Want(t, 200, "GET", "sys/mounts", root, "")
			n.Want(t, 200, "GET", "sys/health", "", "")
			n.Want(t, 403, "GET", "kv/x", "", "", in("a")...) // strangers learn nothing of it
			n.Want(t, 503, "POST", "sys/audit/more", root, `{"type":"socket","options":{"address":"`+address+`"}}`, in("a")...)
			n.Want(t, 403, "DELETE", "sys/audit/line", weak, "", in("a")...)
			n.Want(t, 503, "DELETE", "sys/audit/line", root, "", in("a/low")...) // there is none there
		}
		if list := two.Want(t, 200, "GET", "sys/audit", remover, "", in("a")...); list.Field("data", "line/") == nil {
			t.Errorf("%d: it is not listed: %s", i, list.Text())
		}
		two.Want(t, 204, "DELETE", "sys/audit/line", remover, "", in("a")...)
		for _, n := range f.all {
			n.Want(t, 404, "GET", "kv/x", root, "", in("a")...)
		}
		if !strings.Contains(string(two.Log.Bytes()), "no audit device has taken this request") {
			t.Error("the server's log does not have it")
		}
	}
	if got := strings.Count(string(two.Audit.Bytes()), `"path":"sys/audit/line"`); got < 4 {
		t.Errorf("the root namespace's device lacks the removals: %d", got)
	}
}

// A peer that takes nothing holds the requests of its own namespace for as long as it may,
// and nobody else's.
func TestStalledNamespaceAuditDevice(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never reads
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := servertest.Start(t, func(c *server.Config) { c.AuditPeers = []string{l.Addr().String()} })
	root := servertest.Root
	tenants(t, s, root, "a", "b")
	device := `{"type":"socket","options":{"address":"` + l.Addr().String() + `","deadline":"%"}}`
	s.Want(t, 400, "POST", "sys/audit/line", root, strings.Replace(device, "%", "6s", 1), in("a")...)
	s.Want(t, 204, "POST", "sys/audit/line", root, strings.Replace(device, "%", "300ms", 1), in("a")...)
	big := `{"` + strings.Repeat("x", 50_000) + `":"y"}` // names of members are shown
	var clients sync.WaitGroup
	var mu sync.Mutex
	refused, slowest := 0, time.Duration(0)
	for range 16 {
		clients.Go(func() {
			for range 200 {
				start := time.Now()
				got, err := s.Try("PUT", "kv/x", root, big, in("a")...)
				mu.Lock()
				slowest = max(slowest, time.Since(start))
				if err == nil && got.Status == 503 {
					refused++
				}
				stop := refused > 0
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		clients.Wait()
	}()
	for others := 0; ; others++ {
		select {
		case <-done:
			if refused == 0 || others == 0 || slowest > 10*time.Second {
				t.Errorf("%d refused, %d of others, the slowest after %v", refused, others, slowest)
			}
			return
		default:
			s.Want(t, 404, "GET", "kv/x", root, "", in("b")...)
		}
	}
}

// What is enabled and disabled through one node holds at the next request on another, and a
// device goes on when another of its namespace is disabled.
func TestNamespaceAuditDevicesAreFollowed(t *testing.T) {
	home := t.TempDir()
	f := startNodesWith(t, 2, homes(home))
	one, two := f.all[0], f.all[1]
	tenants(t, one, f.root, "a")
	one.Want(t, 204, "POST", "sys/audit/x", f.root, fileDevice, in("a")...)
	for _, n := range f.all {
		n.Want(t, 404, "GET", "kv/p", f.root, "", in("a")...)
	}
	one.Want(t, 204, "POST", "sys/audit/y", f.root, device(t, "file", "file_path", "y.log"), in("a")...)
	two.Want(t, 404, "GET", "kv/q", f.root, "", in("a")...)
	two.Want(t, 204, "DELETE", "sys/audit/x", f.root, "", in("a")...)
	one.Want(t, 404, "GET", "kv/r", f.root, "", in("a")...)
	x, y := logOf(t, one, f.root, home, "a", "a.log"), logOf(t, one, f.root, home, "a", "y.log")
	x.wants(4, "kv/p")
	x.wants(0, "kv/r")
	y.wants(2, "kv/q")
	y.wants(2, "kv/r")
}
