package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	racers   = 64 // that use one token at the same time, over all nodes
	contests = 3  // tokens that are raced for at the same time
)

// race has all racers begin together and counts whose use counted.
func race(all []*client, use func(c *client) (bool, error)) (won, unknown int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range racers {
		c := all[i%len(all)]
		wg.Go(func() {
			<-begin
			ok, err := use(c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unknown++
			} else if ok {
				won++
			}
		})
	}
	close(begin)
	wg.Wait()
	return won, unknown
}

// usesAreExact races for tokens of limited use, and for what is wrapped: exactly so many uses count as there are.
func usesAreExact(t testing.TB, f *fleet, trials int) {
	t.Helper()
	all := f.clients()
	for _, c := range all {
		c.http.Transport.(*http.Transport).MaxIdleConnsPerHost = contests * racers
	}
	must(t, all[0].writePolicy("limited", true))
	var wg sync.WaitGroup
	var mute atomic.Int64
	for w := range contests {
		wg.Go(func() {
			for trial := w; trial < trials; trial += contests {
				unknown, err := contest(all, trial)
				mute.Add(int64(unknown))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d tokens, %d racers for each, %d uses without an answer", trials, racers, mute.Load())
	if mute.Load() > int64(trials) {
		t.Error("too many uses had no answer: this shows nothing")
	}
}

// contest is one trial.
func contest(all []*client, trial int) (unknown int, err error) {
	k := 1 + trial%7
	use, err := limited(all[trial%fleetSize], k)
	if trial%3 == 2 {
		k = 1
		use, err = wrapped(all[trial%fleetSize])
	}
	if err != nil {
		return 0, err
	}
	won, unknown := race(all, use)
	if won > k || won+unknown < k {
		return unknown, fmt.Errorf("trial %d: %d of %d uses were let through, %d without an answer", trial, won, k, unknown)
	}
	return unknown, nil
}

func limited(c *client, k int) (func(c *client) (bool, error), error) {
	token, err := c.issue(fmt.Sprintf(`,"policies":["limited"],"num_uses":%d`, k))
	return func(c *client) (bool, error) {
		out, err := newHolder(c, token).allowed("limited")
		return out.value == 1, err
	}, err
}

func wrapped(c *client) (func(c *client) (bool, error), error) {
	req, err := http.NewRequest("POST", c.url+"/v1/sys/wrapping/wrap", strings.NewReader(`{"n":7}`))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", c.token)
	req.Header.Set("X-Vault-Wrap-TTL", "60")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var made struct {
		Info struct{ Token string } `json:"wrap_info"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.Info.Token == "" {
		return nil, fmt.Errorf("wrapping: %d %w", resp.StatusCode, err)
	}
	return func(c *client) (bool, error) {
		a, err := newHolder(c, made.Info.Token).ask("POST", "sys/wrapping/unwrap", nil)
		return a.status == http.StatusOK && a.number("data", "n") == 7, err
	}, nil
}
