package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/test/process"
)

// lent is an answer of an engine that lends names and has nothing to do to take them back: what is measured is what the
// server does about leases.
type lent struct {
	Name string `json:"name"`
	ttl  time.Duration
}

// Lease is the lease of the name.
func (l *lent) Lease() *api.Lease {
	return &api.Lease{Kind: "name", TTL: l.ttl, Renewable: true, Private: []byte(l.Name)}
}

type lendRequest struct {
	TTL api.Duration `json:"ttl"` // of the lease
}

func lend(_ struct{}, _ *api.Call, q *lendRequest) (*lent, error) {
	return &lent{rand.Text(), q.TTL.Std()}, nil
}

func lender() (api.Engine, error) {
	eps, err := api.Bind(struct{}{}, []api.Route[struct{}]{api.Handle(api.Write, "creds", lend)})
	return api.Engine{Type: "lender", Endpoints: eps, Leases: map[string]api.LeaseKind{
		"name": {Renew: func(*api.Call, *api.Held) (*api.Lease, error) { return nil, nil }, Revoke: func(*api.Call, *api.Held) error { return nil }},
	}}, err
}

// serveLeases runs the server with an engine that lends, on the embedded store in dir, with a file audit device.
func serveLeases(addr, dir string) (err error) {
	engine, err := lender()
	if err != nil {
		return err
	}
	ctx := context.Background()
	c := &server.Config{DataDir: filepath.Join(dir, "data"), LocalSlot: true, Listeners: []server.Listener{{Address: addr}}, Engines: []api.Engine{engine},
		Audit: []*audit.Declaration{{Path: "file/", Type: "file", Options: map[string]string{"file_path": filepath.Join(dir, "audit.log")}}}}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return err
	}
	s, err := server.Open(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), os.Stdout, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	listeners, err := server.Listen(c)
	if err != nil {
		return err
	}
	return s.Serve(ctx, listeners)
}

// startLeases starts this program again as the server that lends.
func startLeases(dir string) (*process.Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	return process.Start(addr, self, "-serve-leases="+addr, "-leases-dir="+dir)
}

// leaseRun is a run of the measurement of leases.
type leaseRun struct {
	w    io.Writer
	num  int           // how many leases end
	each time.Duration // length of a round of reads
	t    *target       // reads
	root *target       // does all else
}

// reportLeases measures what many leases cost: to make them, to start with them, and the reads that are answered while they
// are revoked, by prefix, by the death of their token and by the end of their time. There are num leases and so many secrets, and
// end of the leases end in each way, while the others stay.
func reportLeases(w io.Writer, dir string, o *options) (err error) {
	s, err := startLeases(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Kill()) }()
	t := target{name: "strongroom", addr: s.Addr, token: s.RootToken(), pid: s.PID()}
	root := t
	end := o.end
	if end == 0 || end > o.memoryNum {
		end = o.memoryNum
	}
	run := &leaseRun{w, end, o.each, &t, &root}
	if err := run.stock(o.memoryNum-end, o.secrets); err != nil {
		return err
	}
	if err := s.Kill(); err != nil {
		return err
	}
	began := time.Now()
	if s, err = startLeases(dir); err != nil {
		return err
	}
	t.addr, t.pid, root.addr, root.pid = s.Addr, s.PID(), s.Addr, s.PID()
	if _, err := run.t.call("GET", secretPath(1), ""); err != nil {
		return err
	}
	fmt.Fprintf(w, "%-44s %8.2f s\n", "from kill to the first read", time.Since(began).Seconds())
	return run.ends()
}

// stock makes the leases, those that stay in a mount of their own, and the secrets.
func (r *leaseRun) stock(stay, secrets int) error {
	if err := r.t.prepare(); err != nil {
		return err
	}
	for _, mount := range []string{"lend", "stay"} {
		if _, err := r.root.call("POST", "/v1/sys/mounts/"+mount, `{"type":"lender"}`); err != nil {
			return err
		}
	}
	if stay > 0 {
		if err := r.makeIn("stay", stay, r.root, 0); err != nil {
			return err
		}
	}
	if secrets > 0 {
		if err := r.abreast(r.root, secrets, "secrets", func(i int) (string, string) {
			return fmt.Sprintf("/v1/bench/data/many/%d", i), payload
		}); err != nil {
			return err
		}
	}
	return r.make(r.root, 0)
}

// ends has the leases end in three ways.
func (r *leaseRun) ends() error {
	if err := r.while("revoked by prefix", func() error {
		_, err := r.root.call("POST", "/v1/sys/leases/revoke-prefix/lend", `{"sync":true}`)
		return err
	}); err != nil {
		return err
	}
	text, err := r.root.call("POST", "/v1/auth/token/create", `{"ttl":"24h"}`)
	if err != nil {
		return err
	}
	holder := *r.root
	_, after, _ := strings.Cut(text, `"client_token":"`)
	holder.token, _, _ = strings.Cut(after, `"`)
	if err := r.make(&holder, 0); err != nil {
		return err
	}
	if err := r.while("revoked with their token", func() error {
		if _, err := r.root.call("POST", "/v1/auth/token/revoke", `{"token":"`+holder.token+`"}`); err != nil {
			return err
		}
		return r.gone()
	}); err != nil {
		return err
	}
	at := time.Now().Add(time.Duration(r.num)*300*time.Microsecond + 3*r.each + 2*time.Second)
	if err := r.make(r.root, time.Until(at)); err != nil {
		return err
	}
	return r.while("expired at once", r.gone, at)
}

// makers is how many clients make leases.
const makers = 32

// make makes leases that will end; with a ttl, all of them end at about the same moment.
func (r *leaseRun) make(t *target, ttl time.Duration) error { return r.makeIn("lend", r.num, t, ttl) }

func (r *leaseRun) makeIn(mount string, num int, t *target, ttl time.Duration) error {
	began := time.Now()
	return r.abreast(t, num, "leases", func(int) (string, string) {
		body := "{}"
		if ttl > 0 {
			body = fmt.Sprintf(`{"ttl":"%dms"}`, max((ttl-time.Since(began)).Milliseconds(), 1000))
		}
		return "/v1/" + mount + "/creds", body
	})
}

// abreast sends writes from many clients and tells how long they took, and what they cost the server.
func (r *leaseRun) abreast(t *target, num int, what string, request func(i int) (path, body string)) error {
	began, each := time.Now(), (num+makers-1)/makers
	before, err := cpuTime(t.pid)
	if err != nil {
		return err
	}
	failed := make(chan error, makers)
	for m := range makers {
		go func() { failed <- send(t, m*each, each, request) }()
	}
	for range makers {
		err = errors.Join(err, <-failed)
	}
	after, cerr := cpuTime(t.pid)
	fmt.Fprintf(r.w, "%-44s %8.2f s   %s of CPU each\n", fmt.Sprintf("%d %s made by %d clients", each*makers, what, makers), time.Since(began).Seconds(),
		micros((after-before)/time.Duration(each*makers)))
	return errors.Join(err, cerr)
}

// send sends so many writes from one client.
func send(t *target, first, num int, request func(i int) (path, body string)) error {
	conns, err := dial(t, workload{requests: func(t *target, _ int) [][]byte { return nil }}, 1)
	if err != nil {
		return err
	}
	c := conns[0]
	for i := range num {
		path, body := request(first + i)
		if _, err := c.conn.Write(t.request("POST", path, body)); err != nil {
			return err
		}
		if err := c.answer(); err != nil {
			return err
		}
	}
	return c.conn.Close()
}

// gone waits until there are no leases but those that stay.
func (r *leaseRun) gone() error {
	for {
		text, err := r.root.call("LIST", "/v1/sys/leases/lookup/lend?limit=1", "")
		if err != nil && strings.Contains(err.Error(), "answered 404") {
			return nil
		}
		if err != nil {
			return err
		}
		if text == "" {
			return errors.New("an empty list of leases")
		}
		<-time.After(20 * time.Millisecond)
	}
}

// readers is how many clients read meanwhile.
const readers = 4

// while measures reads without anything else, and again until work has ended. after is when the work begins. The CPU is what the
// server spent beyond what the reads cost when there was nothing else.
func (r *leaseRun) while(what string, work func() error, after ...time.Time) error {
	read := workloads[0]
	idle, err := drive(r.t, read, readers, 3*r.each)
	if err != nil {
		return err
	}
	for _, at := range after {
		<-time.After(time.Until(at))
	}
	before, err := cpuTime(r.t.pid)
	if err != nil {
		return err
	}
	var took, reads time.Duration
	began, ended := time.Now(), make(chan error, 1)
	go func() {
		err := work()
		took = time.Since(began)
		ended <- err
	}()
	var busy []round
	for done := false; !done; {
		window, err := drive(r.t, read, readers, r.each)
		if err != nil {
			return err
		}
		busy = append(busy, window)
		reads += time.Duration(window.Throughput * r.each.Seconds() * float64(idle.CPU))
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			done = true
		default:
		}
	}
	spent, err := cpuTime(r.t.pid)
	if err != nil {
		return err
	}
	p99 := median(busy, func(r round) time.Duration { return r.P99 })
	_, err = fmt.Fprintf(r.w, "%-44s %8.2f s   reads' p99 %s, idle %s: %.1fx; %s of CPU each\n", fmt.Sprintf("%d leases %s", r.num, what), took.Seconds(),
		micros(p99), micros(idle.P99), float64(p99)/float64(idle.P99), micros((spent-before-reads)/time.Duration(r.num)))
	return err
}
