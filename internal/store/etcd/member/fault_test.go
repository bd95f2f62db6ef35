package member

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/etcd"
)

// load commits to stores until it is stopped, and knows what was acknowledged.
type load struct {
	mu    sync.Mutex
	acked map[string]store.Rev
	grown chan struct{}
}

// run commits new keys, one after another, until ctx ends.
func (l *load) run(ctx context.Context, s store.Store, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%s/%06d", name, i)
		rev, err := s.Commit(ctx, nil, []store.Write{{Key: key, Value: []byte(key)}})
		if err != nil {
			continue // its outcome is not known
		}
		l.mu.Lock()
		l.acked[key] = rev
		l.mu.Unlock()
		select {
		case l.grown <- struct{}{}:
		default:
		}
	}
}

// more waits for so many further acknowledged commits.
func (l *load) more(t testing.TB, n int) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for range n {
		select {
		case <-l.grown:
		case <-timeout:
			t.Fatal("nothing is committed any more")
		}
	}
}

// wantAll checks that every acknowledged commit is there.
func (l *load) wantAll(t testing.TB, s store.Store) {
	t.Helper()
	for key, rev := range l.acked {
		if e, err := s.Get(t.Context(), key); err != nil || e.Rev != rev || string(e.Value) != key {
			t.Fatalf("%s was acknowledged at %d and is %q at %d, %v", key, rev, e.Value, e.Rev, err)
		}
	}
}

func (f *fleet) leader(t testing.TB) string {
	t.Helper()
	for n, m := range f.members {
		if m.etcd.Server.Leader() == m.etcd.Server.MemberID() {
			return n
		}
	}
	t.Fatal("there is no leader")
	return ""
}

// others are the running members but one.
func (f *fleet) others(name string) (out []string) {
	for n := range f.members {
		if n != name {
			out = append(out, n)
		}
	}
	return out
}

// TestKilled kills the leader and starts it again, then stops a majority: no
// acknowledged commit is lost, and a minority answers nothing.
func TestKilled(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.start("a", "b", "c")
	leader := f.leader(t)
	rest := f.others(leader)
	one, two := f.open(t, rest[0], etcd.Options{Timeout: 5 * time.Second}), f.open(t, rest[1], etcd.Options{Timeout: 5 * time.Second})
	l := &load{acked: map[string]store.Rev{}, grown: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for i, s := range []store.Store{one, two, one, two} {
		writers.Go(func() { l.run(ctx, s, fmt.Sprint("w", i)) })
	}
	l.more(t, 50)
	f.kill(leader)
	l.more(t, 50)
	f.start(leader)
	l.more(t, 50)
	stop()
	writers.Wait()
	again := f.open(t, leader, etcd.Options{Timeout: time.Second})
	for _, s := range []store.Store{one, two, again} {
		l.wantAll(t, s)
	}
	t.Logf("%d commits were acknowledged", len(l.acked))
	wantFeed(t, one, l.acked)
	closeStores(t, one, two)
	f.kill(rest[0])
	f.kill(rest[1])
	wantNothing(t, again)
}

func closeStores(t testing.TB, all ...*etcd.Store) {
	t.Helper()
	for _, s := range all {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// wantFeed checks that a feed reports every acknowledged commit, in order.
func wantFeed(t testing.TB, s store.Store, acked map[string]store.Rev) {
	t.Helper()
	feed, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	now, err := s.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for last := store.Rev(0); last < now; {
		c, err := feed.Next(t.Context())
		if err != nil || c.Rev <= last {
			t.Fatalf("the feed reports %v, %v after %d", c, err, last)
		}
		last = c.Rev
		for _, k := range c.Keys {
			if rev, ok := acked[k]; ok && rev == c.Rev {
				found++
			}
		}
	}
	if found != len(acked) {
		t.Errorf("the feed reports %d of %d acknowledged commits", found, len(acked))
	}
}

// wantNothing checks that a member without a majority answers nothing from what it has.
func wantNothing(t testing.TB, s store.Engine) {
	t.Helper()
	for name, call := range map[string]func() error{
		"Get":    func() error { _, err := s.Get(t.Context(), "w0/000000"); return err },
		"List":   func() error { _, err := s.List(t.Context(), store.Range{}); return err },
		"Sync":   func() error { _, err := s.Sync(t.Context()); return err },
		"View":   func() error { _, err := s.View(t.Context()); return err },
		"checks": func() error { _, err := s.Commit(t.Context(), []store.Check{{Key: "none"}}, nil); return err },
		"writes": func() error { _, err := s.Commit(t.Context(), nil, []store.Write{{Key: "none"}}); return err },
	} {
		if err := call(); err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrFull) {
			t.Errorf("%s on a member that is alone: %v", name, err)
		}
	}
}

// TestAllRestart restarts all members at once.
func TestAllRestart(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.start("a", "b", "c")
	s := f.open(t, "a", etcd.Options{})
	rev := put(t, s, "k", "v")
	closeStores(t, s)
	for _, n := range []string{"a", "b", "c"} {
		f.kill(n)
	}
	f.start("a", "b", "c")
	if e, err := f.open(t, "b", etcd.Options{}).Get(t.Context(), "k"); err != nil || e.Rev != rev {
		t.Errorf("after a restart of all: %d, %v", e.Rev, err)
	}
}

// TestReplaced loses a member's data, is refused, replaces it under another URL, and
// moves a member to another URL.
func TestReplaced(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.start("a", "b", "c")
	s := f.open(t, "a", etcd.Options{})
	rev := put(t, s, "k", "v")
	lost := uint64(f.members["c"].etcd.Server.MemberID())
	f.kill("c")
	if err := os.RemoveAll(filepath.Join(f.dir, "c")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.tryStart(ctx, "c"); !errors.Is(err, errGone) {
		t.Fatalf("a member that lost its data: %v", err)
	}
	if err := f.members["a"].Remove(ctx, lost); err != nil {
		t.Fatal(err)
	}
	err := f.tryStart(ctx, "c")
	for range 50 { // until the other member, which may be asked too, has heard of the removal
		if !errors.Is(err, errGone) {
			break
		}
		err = f.tryStart(ctx, "c")
	}
	if err == nil || !strings.Contains(err.Error(), "add it as a member first") {
		t.Fatalf("a member that was not added: %v", err)
	}
	f.config.Members[2].URL = "http://" + freeAddr(t)
	if err := f.members["a"].Add(ctx, f.config.Members[2].URL); err != nil {
		t.Fatal(err)
	}
	f.start("c")
	if e, err := f.open(t, "c", etcd.Options{}).Get(ctx, "k"); err != nil || e.Rev != rev {
		t.Errorf("the new member reads %d, %v", e.Rev, err)
	}
	f.close("b")
	f.config.Members[1].URL = "http://" + freeAddr(t)
	f.start("b")
	put(t, f.open(t, "b", etcd.Options{}), "k", "w")
	all, err := f.members["a"].Members(ctx)
	if err != nil || len(all) != 3 {
		t.Fatalf("the members are %v, %v", all, err)
	}
	for _, i := range all {
		if i.Name == "b" && (i.URLs[0] != f.config.Members[1].URL || !i.Started) {
			t.Errorf("the member that moved is %+v", i)
		}
	}
	f.close("c")
	all, err = f.members["a"].Members(ctx)
	if err != nil || len(all) != 3 {
		t.Fatalf("the members are %v, %v", all, err)
	}
	for _, i := range all {
		if !i.Started || i.Answers != (i.Name != "c") {
			t.Errorf("with c away: %+v", i)
		}
	}
}

// TestWaitsForAll starts two new members of three: nothing begins before the third has
// said that it is new too.
func TestWaitsForAll(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range []string{"a", "b"} {
		wg.Go(func() {
			if err := f.tryStart(ctx, n); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waiting for c") {
				t.Errorf("%s did not wait for c: %v", n, err)
			}
		})
	}
	wg.Wait()
}

// TestWaitsForOneList starts two new members whose configurations differ: no cluster is
// founded, in which the third would have no place, and each says why.
func TestWaitsForOneList(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	short := &fleet{TB: t, dir: f.dir, config: f.config, members: map[string]*Member{}}
	short.config.Members = f.config.Members[:2]
	var log bytes.Buffer
	short.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := short.tryStart(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a, which knows nothing of c, ends with %v", err)
		}
	})
	wg.Go(func() {
		if err := f.tryStart(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("b ends with %v", err)
		}
	})
	wg.Wait()
	if !strings.Contains(log.String(), errOthers.Error()) && !strings.Contains(log.String(), "connection refused") {
		t.Errorf("the log does not say why it waits: %s", log.String())
	}
}

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB, dir, name string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(dir, name+".pem")}
	a.cert = &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.make(t, a.cert, filepath.Join(dir, name))
	return a
}

// make signs a certificate, by itself when there is no authority yet, and writes it.
func (a *authority) make(t testing.TB, c *x509.Certificate, file string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := c, key
	if a.key != nil {
		parent, signer = a.cert, a.key
	}
	c.SerialNumber, c.Subject = big.NewInt(1), pkix.Name{CommonName: filepath.Base(file)}
	c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Unix(1<<33, 0)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, file+".pem", "CERTIFICATE", der)
	writePEM(t, file+".key", "PRIVATE KEY", keyDER)
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTLS has members trust each other by certificate, and a member with another
// authority's is refused.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := newAuthority(t, dir, "ours"), newAuthority(t, dir, "theirs")
	for _, a := range []*authority{ours, theirs} {
		a.make(t, &x509.Certificate{
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, strings.TrimSuffix(a.file, ".pem")+"-node")
	}
	f := newFleet(t, "a", "b", "c")
	for i := range f.config.Members {
		f.config.Members[i].URL = strings.Replace(f.config.Members[i].URL, "http:", "https:", 1)
	}
	f.config.CAFile = ours.file
	f.config.CertFile, f.config.KeyFile = filepath.Join(dir, "ours-node.pem"), filepath.Join(dir, "ours-node.key")
	f.start("a", "b", "c")
	put(t, f.open(t, "a", etcd.Options{}), "k", "v")
	wantNoStranger(t, ours, f.config.Members[0].URL)
	f.close("c")
	f.config.CertFile, f.config.KeyFile = filepath.Join(dir, "theirs-node.pem"), filepath.Join(dir, "theirs-node.key")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := f.tryStart(ctx, "c"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a member with a certificate of another authority: %v", err)
	}
}

// wantNoStranger asks a member as who trusts it and shows nothing of himself.
func wantNoStranger(t *testing.T, a *authority, url string) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	if status, _, err := get(t.Context(), client, url+membersPath); err == nil {
		t.Errorf("a client without a certificate is answered with %d", status)
	}
}

func TestConfig(t *testing.T) {
	member := func(urls ...string) (c Config) {
		c.Dir, c.Name = "dir", "m0"
		for i, u := range urls {
			c.Members = append(c.Members, Peer{fmt.Sprint("m", i), u})
		}
		return c
	}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{member("http://127.0.0.1:1"), ""},
		{member("http://10.1.2.3:1"), "not encrypted"},
		{member("https://10.1.2.3:1"), "need tls_cert_file"},
		{member("http://127.0.0.1"), "of the form"},
		{member("tcp://127.0.0.1:1"), "of the form"},
		{member("http://u:p@127.0.0.1:1"), "of the form"},
		{member("http://127.0.0.1:1", "http://127.0.0.1:1"), "is that of member"},
		{member(), "no members"},
		{Config{Members: member("http://127.0.0.1:1", "http://127.0.0.1:2").Members, Dir: "dir"}, "say which of them"},
		{Config{Members: member("http://127.0.0.1:1").Members, Dir: "dir", Name: "other"}, "no member is called"},
		{Config{Members: member("http://127.0.0.1:1").Members, Name: "m0"}, "no data directory"},
	} {
		_, err := c.config.complete(t.Context())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config.Members, err, c.want)
		}
	}
	own := Config{Members: member("http://127.0.0.1:1").Members, Dir: "dir"}
	if c, err := own.complete(t.Context()); err != nil || c.Name != "m0" {
		t.Errorf("a member on this machine is called %q, %v", c.Name, err)
	}
}

func TestSlots(t *testing.T) {
	seen := map[int]int{}
	for i := range 30 {
		seen[slot(time.Unix(int64(60*i), 0), time.Minute, 3)]++
	}
	if seen[0] != 10 || seen[1] != 10 || seen[2] != 10 {
		t.Errorf("the turns are %v", seen)
	}
	const quota = 8 << 30
	if fragmented(150<<20, 80<<20, quota) || fragmented(60<<20, 1<<20, quota) || !fragmented(200<<20, 90<<20, quota) {
		t.Error("what is worth defragmenting is judged wrongly")
	}
}

// TestRoomAgain fills a member's database, removes what is in it, and writes again once
// the member has seen to it.
func TestRoomAgain(t *testing.T) {
	f := newFleet(t, "a")
	f.config.QuotaBytes = minQuota
	f.start("a")
	s := f.open(t, "a", etcd.Options{})
	big := func(w store.Write) (ws []store.Write) {
		for i := range store.MaxWrites {
			w.Key = fmt.Sprintf("%03d", i)
			ws = append(ws, w)
		}
		return ws
	}
	for i := 0; ; i++ {
		_, err := s.Commit(t.Context(), nil, big(store.Write{Value: make([]byte, 8000)}))
		if errors.Is(err, store.ErrFull) {
			break
		}
		if err != nil && !strings.Contains(err.Error(), "quota") || i > 200 {
			t.Fatal(err)
		}
	}
	rev, err := s.Commit(t.Context(), nil, big(store.Write{Delete: true}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	var sp etcd.Space
	var spaceErr error
	for range 100 { // etcd compacts in its own time
		if _, err := f.members["a"].maintainOnce(t.Context(), time.Unix(0, 0), time.Minute); err != nil {
			t.Fatal(err)
		}
		_, err = s.Commit(t.Context(), nil, []store.Write{{Key: "k"}})
		if sp, spaceErr = s.Space(t.Context()); err == nil && spaceErr == nil && sp.Size <= minQuota/2 {
			break
		}
		if err := pause(t.Context(), 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if err != nil || spaceErr != nil || sp.Full || sp.Size > minQuota/2 {
		t.Errorf("after maintenance: %v, %+v, %v", err, sp, spaceErr)
	}
}
