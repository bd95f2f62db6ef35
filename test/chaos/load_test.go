package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// writers is how many clients write at the same time, each to a secret of its own.
const writers = 8

// ledger is what the server acknowledged over all its lives, and what was asked of it without an answer.
type ledger struct {
	mu     sync.Mutex
	acked  map[string]int // acked is the last number acknowledged for each secret.
	asked  map[string]int // asked is the last number sent, acknowledged or not.
	tokens []string       // tokens are those the server gave out.
	found  int            // found is how many of tokens a later life has known.
	total  int
	off    bool // off is set once the power is gone.
}

func newLedger() *ledger {
	return &ledger{acked: map[string]int{}, asked: map[string]int{}}
}

// next is the number to write to a secret now; one that was asked for is never asked for again.
func (l *ledger) next(secret string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[secret]++
	return l.asked[secret]
}

func (l *ledger) ack(secret string, n int) {
	l.acknowledged(func() { l.acked[secret] = n })
}

func (l *ledger) ackToken(token string) {
	l.acknowledged(func() { l.tokens = append(l.tokens, token) })
}

func (l *ledger) acknowledged(note func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.off {
		note()
		l.total++
	}
}

// sum is how much was acknowledged in all.
func (l *ledger) sum() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// grows waits until so much more was acknowledged that a life shows something, however slow the machine, unless its load has ended.
func (l *ledger) grows(before int, ended <-chan error) {
	_ = await("each writes", func() bool { return l.sum() >= before+writers || len(ended) > 0 })
}

// ending has the next life asked for everything once more.
func (l *ledger) ending() { l.found = 0 }

// power says whether there is power. Without it nothing counts as acknowledged: the process outlives the disk it is cut off
// from by a moment, in which the kernel may call a sync done that was under way, but a machine without power says nothing.
func (l *ledger) power(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = !on
}

// client speaks to one life of the server. A fresh transport has no connections to an earlier life.
type client struct {
	url, token string
	http       *http.Client
}

func newClient(url, token string) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: writers * 2}
	return &client{url, token, &http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

// errRefused marks an answer that is not a success.
var errRefused = errors.New("the server answered")

// send sends a request and returns the status and the body of its answer.
func (c *client) send(method, path, body string) (int, []byte, error) {
	req, err := http.NewRequest(method, c.url+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Vault-Token", c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, errors.Join(err, resp.Body.Close())
}

// call sends a request and decodes a successful answer.
func (c *client) call(method, path, body string, into any) error {
	status, text, err := c.send(method, path, body)
	switch {
	case err != nil:
		return err
	case status >= 300:
		return fmt.Errorf("%w %s %s with %d: %s", errRefused, method, path, status, text)
	case into == nil || len(text) == 0:
		return nil
	}
	return json.Unmarshal(text, into)
}

// load writes from all clients until the server goes away; it returns what the server refused meanwhile, which is nothing
// where all is well.
func (c *client) load(l *ledger) error {
	errs := make([]error, writers+2)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() { errs[w] = c.write(l, fmt.Sprintf("plain-%d", w)) })
	}
	wg.Go(func() { errs[writers] = c.count(l) })
	wg.Go(func() { errs[writers+1] = c.makeTokens(l) })
	wg.Wait()
	c.http.CloseIdleConnections()
	for i, err := range errs {
		if !errors.Is(err, errRefused) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

func (c *client) write(l *ledger, secret string) error {
	for {
		n := l.next(secret)
		if err := c.call("POST", "chaos/data/"+secret, fmt.Sprintf(`{"data":{"n":%d,"twice":%d}}`, n, 2*n), nil); err != nil {
			return err
		}
		l.ack(secret, n)
	}
}

// counter is the secret that is written with check-and-set alone.
const counter = "counter"

// count raises the counter by check-and-set. After a restart it may stand one higher than was acknowledged; each number is
// its own version.
func (c *client) count(l *ledger) error {
	var stands state
	if err := c.call("GET", "chaos/data/"+counter, "", &stands); err != nil && !strings.Contains(err.Error(), "404") {
		return err
	}
	l.mu.Lock()
	l.asked[counter] = stands.Data.Metadata.Version
	l.mu.Unlock()
	for {
		n := l.next(counter)
		body := fmt.Sprintf(`{"data":{"n":%d,"twice":%d},"options":{"cas":%d}}`, n, 2*n, n-1)
		if err := c.call("POST", "chaos/data/"+counter, body, nil); err != nil {
			return err
		}
		l.ack(counter, n)
	}
}

func (c *client) makeTokens(l *ledger) error {
	for {
		var made struct {
			Auth struct {
				ClientToken string `json:"client_token"`
			} `json:"auth"`
		}
		if err := c.call("POST", "auth/token/create", `{"policies":["default"],"ttl":"1h"}`, &made); err != nil {
			return err
		}
		l.ackToken(made.Auth.ClientToken)
	}
}

// state is what a secret holds.
type state struct {
	Data struct {
		Data     struct{ N, Twice int }
		Metadata struct{ Version int }
	}
}

// losses compares what the server holds with the ledger, and names everything acknowledged that is missing and everything
// that is there in part.
func (c *client) losses(t *testing.T, l *ledger) []string {
	t.Helper()
	var lost []string
	for secret, acked := range l.acked {
		var s state
		err := c.call("GET", "chaos/data/"+secret, "", &s)
		n, twice := s.Data.Data.N, s.Data.Data.Twice
		switch {
		case err != nil:
			lost = append(lost, fmt.Sprintf("%s stood at %d and is gone: %v", secret, acked, err))
		case twice != 2*n:
			lost = append(lost, fmt.Sprintf("%s is torn: %d and %d", secret, n, twice))
		case n < acked || n > l.asked[secret]:
			lost = append(lost, fmt.Sprintf("%s is %d, after %d was acknowledged and %d asked for", secret, n, acked, l.asked[secret]))
		case secret == counter && s.Data.Metadata.Version != n:
			lost = append(lost, fmt.Sprintf("the counter is %d in version %d", n, s.Data.Metadata.Version))
		}
	}
	return append(lost, c.lostTokens(l)...)
}

// lostTokens are those tokens that are gone of the ones no life has been asked for yet: they are many, and the last life is
// asked for all.
func (c *client) lostTokens(l *ledger) (lost []string) {
	fresh := l.tokens[l.found:]
	l.found = len(l.tokens)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < len(fresh); i += writers {
				if err := newHolder(c, fresh[i]).call("GET", "auth/token/lookup-self", "", nil); err != nil {
					mu.Lock()
					lost = append(lost, fmt.Sprintf("a token that was given out: %v", err))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return lost
}

func newHolder(c *client, token string) *client { return &client{c.url, token, c.http} }
