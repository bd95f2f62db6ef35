package chaos

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	revocations = flag.Int("revocations", 300, "how many revocations and changes of policies are looked for on the other nodes")
	trials      = flag.Int("trials", 12, "how many tokens of limited use are raced for")
	schedules   = flag.Int("schedules", 20, "how many courses of wrong clocks a token is looked at in")
	pauses      = flag.Int("pauses", 2, "how often a node is paused while access is taken away")
)

// watchers is how many look for withdrawals at the same time. What one waits for is the store's commits, which many share.
const watchers = 96

// issue makes a token with further members of its request.
func (c *client) issue(more string) (string, error) {
	var made struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		} `json:"auth"`
	}
	err := c.call("POST", "auth/token/create", `{"no_default_policy":true,"ttl":"1h"`+more+`}`, &made)
	return made.Auth.ClientToken, err
}

// access is a token that may read by a policy of its own, and the two ways of taking that away.
type access struct{ name, token string }

func (c *client) grant(name string) (access, error) {
	if err := c.writePolicy(name, true); err != nil {
		return access{}, err
	}
	token, err := c.issue(fmt.Sprintf(`,"policies":[%q]`, name))
	return access{name, token}, err
}

// withdraw takes access away: by revoking the token, or by changing the policy.
func (c *client) withdraw(a access, revoke bool) error {
	if revoke {
		return c.call("POST", "auth/token/revoke", fmt.Sprintf(`{"token":%q}`, a.token), nil)
	}
	return c.writePolicy(a.name, false)
}

// has reports whether the node still lets the access through. An error is a denial: nothing was let through.
func (c *client) has(a access) bool {
	status, _, err := newHolder(c, a.token).send("GET", "plain/"+a.name, "")
	return err == nil && (status == http.StatusOK || status == http.StatusNotFound)
}

// visibility is what was seen of withdrawals.
type visibility struct {
	mu            sync.Mutex
	n             int
	stale, before int // uses let through after and before the acknowledgement
	errs          []error
}

// one grants access through node i, has every other node use it so that it is remembered, withdraws it, and looks.
func (v *visibility) one(all []*client, i, k int) error {
	a, err := all[i].grant(fmt.Sprintf("seen-%d", k))
	if err != nil {
		return err
	}
	early := others(all, i, a)
	if err := all[i].withdraw(a, k%2 == 0); err != nil {
		return err
	}
	late := others(all, i, a)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n, v.stale, v.before = v.n+1, v.stale+late, v.before+early
	return nil
}

// others is how many nodes but i let the access through, all asked at once.
func others(all []*client, i int, a access) int {
	var through atomic.Int64
	var wg sync.WaitGroup
	for j, c := range all {
		if j == i {
			continue
		}
		wg.Go(func() {
			if c.has(a) {
				through.Add(1)
			}
		})
	}
	wg.Wait()
	return int(through.Load())
}

// watchers look for withdrawals at the same time.
func (f *fleet) withdrawals(n, watchers int) *visibility {
	v := &visibility{}
	var wg sync.WaitGroup
	for w := range watchers {
		wg.Go(func() {
			all := f.clients()
			defer closeIdle(all)
			for k := w; k < n; k += watchers {
				if err := v.one(all, k%fleetSize, k); err != nil {
					v.mu.Lock()
					v.errs = append(v.errs, err)
					v.mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return v
}

func closeIdle(all []*client) {
	for _, c := range all {
		c.http.CloseIdleConnections()
	}
}

func (f *fleet) clients() []*client {
	out := make([]*client, len(f.nodes))
	for i := range out {
		out[i] = f.client(i, f.root)
	}
	return out
}

// revocationIsSeen: what is taken away through one node is gone on the others once that was acknowledged.
func revocationIsSeen(t testing.TB, f *fleet, n int) {
	t.Helper()
	v := f.withdrawals(n, watchers)
	for _, err := range v.errs {
		t.Error(err)
	}
	t.Logf("%d uses let through of %d after the acknowledgement, %d of as many before it", v.stale, 2*v.n, v.before)
	if v.stale > 0 {
		t.Errorf("%d uses of what was taken away", v.stale)
	}
	if v.before < 2*v.n {
		t.Errorf("only %d of %d uses were let through before: the check sees too little", v.before, 2*v.n)
	}
}

// pausedNodeForgets: a node that was paused while access was taken away lets nothing through when it goes on, neither what
// had reached it before nor what comes then.
func pausedNodeForgets(t testing.TB, f *fleet, rounds int) {
	t.Helper()
	all, allowed, asked := f.clients(), 0, 0
	for round := range rounds {
		i := round % fleetSize
		held, writer := f.nodes[i], all[(i+1)%fleetSize]
		var granted []access
		for k := range 20 {
			a, err := writer.grant(fmt.Sprintf("paused-%d-%d", round, k))
			must(t, err)
			if !all[i].has(a) {
				t.Errorf("node %s does not know an access of another", held.spec.Name)
			}
			granted = append(granted, a)
		}
		must(t, held.pause())
		for k, a := range granted {
			must(t, writer.withdraw(a, k%2 == 0))
		}
		// A stopped process's kernel takes connections and requests: they wait in it and are read when it goes on.
		var wg sync.WaitGroup
		var mu sync.Mutex
		var sent atomic.Int64
		for _, a := range granted {
			wg.Go(func() {
				c := f.client(i, "")
				c.counts(&sent)
				defer c.http.CloseIdleConnections()
				let := c.has(a)
				mu.Lock()
				defer mu.Unlock()
				asked++
				if let {
					allowed++
				}
			})
		}
		<-time.After(time.Second)
		must(t, await("all requests have reached it", func() bool { return sent.Load() >= int64(len(granted)) }))
		must(t, held.resume())
		wg.Wait()
	}
	t.Logf("%d of %d uses let through by nodes that were paused", allowed, asked)
	if allowed > 0 {
		t.Errorf("%d uses of what was taken away while a node was paused", allowed)
	}
}

// counts has the client count the requests that it has handed to its kernel, on connections of their own.
func (c *client) counts(sent *atomic.Int64) {
	c.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return countedConn{conn, sent}, err
	}
}

// countedConn counts what is written on it: a request, at once.
type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

// Write implements net.Conn.
func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(1)
	return n, err
}
