package chaos

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ceremonies is what happens to keys and seals while others write.
type ceremonies struct {
	f     *fleet
	stop  chan struct{}
	count [5]atomic.Int64 // rotations, rekeys, aborted rekeys, root tokens, seals

	mu   sync.Mutex
	errs []error
}

// fault notes what must not happen, once each, so that what happens often leaves room for what happens rarely. That a node is sealed, or that another ceremony was first, may.
func (p *ceremonies) fault(err error) {
	if err == nil || errors.Is(err, errUnknown) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.errs, func(had error) bool { return had.Error() == err.Error() }) {
		p.errs = append(p.errs, err)
	}
}

// idle is a kind of which nothing has happened, or -1.
func (p *ceremonies) idle() int {
	for i := range p.count {
		if p.count[i].Load() == 0 {
			return i
		}
	}
	return -1
}

// until repeats something until the play ends, going from node to node.
func (p *ceremonies) until(act func(all []*client, k int) error) {
	all := p.f.clients()
	for k := 0; ; k++ {
		select {
		case <-p.stop:
			return
		case <-time.After(20 * time.Millisecond):
			p.fault(act(all, k))
		}
	}
}

// rotate begins a new epoch of the key ring through all nodes at once.
func (p *ceremonies) rotate(all []*client, _ int) error {
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			a, err := c.ask("PUT", "sys/rotate", nil)
			if err == nil && a.status >= 400 {
				err = a.unexpected()
			}
			if err == nil {
				p.count[0].Add(1)
			}
			p.fault(err)
		})
	}
	wg.Wait()
	return nil
}

// share hands a share in at a path and answers what that brought.
func share(c *client, path, key string, nonce any) (answer, error) {
	a, err := c.ask("PUT", path, map[string]any{"key": key, "nonce": nonce})
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%w: %w", errUnknown, a.unexpected())
	}
	return a, err
}

// begin begins a ceremony. Another may be under way, as one whose cancelling had no answer.
func begin(c *client, path string, body any) (answer, error) {
	a, err := c.ask("PUT", path, body)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%w: %w", errUnknown, a.unexpected())
	}
	return a, err
}

// aborted is which of three rekeys is aborted.
const aborted = 0

// rekey replaces the unseal keys, one share through each of two nodes: the first one also says whose slot is meant. One in three is aborted; then, and when the end is
// not known, the old keys are those that count.
func (p *ceremonies) rekey(all []*client, k int) error {
	if err := p.cancel(all, "sys/rekey/init"); err != nil {
		return err
	}
	keys := p.f.shares()
	a, err := begin(all[k%fleetSize], "sys/rekey/init", map[string]any{"secret_shares": 3, "secret_threshold": 2, "key": keys[k%3]})
	if err != nil {
		return err
	}
	nonce := a.body["nonce"]
	if k%3 == aborted {
		p.count[2].Add(1)
		return p.cancel(all, "sys/rekey/init")
	}
	a, err = share(all[(k+2)%fleetSize], "sys/rekey/update", keys[(k+1)%3], nonce)
	if err != nil {
		return err
	}
	made, _ := a.body["keys"].([]any)
	if len(made) != 3 {
		return fmt.Errorf("a rekey answers %d keys", len(made))
	}
	p.f.rekeyed(made)
	p.count[1].Add(1)
	return nil
}

// cancel ends a ceremony through whichever node answers.
func (p *ceremonies) cancel(all []*client, path string) error {
	var last error
	for _, c := range all {
		a, err := c.ask("DELETE", path, nil)
		if err == nil && a.status < 400 {
			return nil
		}
		last = err
	}
	return fmt.Errorf("%w: nobody cancels: %w", errUnknown, last)
}

// generate makes a root token and uses it.
func (p *ceremonies) generate(all []*client, k int) error {
	if err := p.cancel(all, "sys/generate-root/attempt"); err != nil {
		return err
	}
	keys := p.f.shares()
	a, err := begin(all[k%fleetSize], "sys/generate-root/attempt", map[string]string{"key": keys[0]})
	if err != nil {
		return err
	}
	nonce := a.body["nonce"]
	pad, _ := a.body["otp"].(string)
	c := all[(k+2)%fleetSize]
	if a, err = share(c, "sys/generate-root/update", keys[1], nonce); err != nil {
		return err
	}
	encoded, _ := a.body["encoded_token"].(string)
	token, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil || len(token) != len(pad) || pad == "" {
		return fmt.Errorf("a root token of %d characters with a pad of %d: %w", len(token), len(pad), err)
	}
	for i := range token {
		token[i] ^= pad[i]
	}
	a, err = newHolder(c, string(token)).ask("POST", "auth/token/revoke-self", nil)
	if err == nil && a.status != http.StatusNoContent {
		err = fmt.Errorf("a new root token is not one: %w", a.unexpected())
	}
	p.count[3].Add(1)
	return err
}

// seal seals all nodes at first, and then one or now and then all of them, and unseals what is sealed.
func (p *ceremonies) seal(all []*client, k int) error {
	body, sealed := any(nil), p.f.nodes[k%fleetSize:k%fleetSize+1]
	if k%4 == 0 {
		body, sealed = map[string]bool{"fleet": true}, p.f.nodes
	}
	a, err := all[k%fleetSize].ask("PUT", "sys/seal", body)
	if err == nil && a.status >= 400 {
		err = a.unexpected()
	}
	if err == nil {
		p.count[4].Add(1)
		for _, n := range sealed {
			status, _, err := newClient(n.url(), p.f.root).send("GET", "auth/token/lookup-self", "")
			if err == nil && status != http.StatusServiceUnavailable {
				p.fault(fmt.Errorf("a node that was sealed answers %d", status))
			}
		}
	}
	for _, n := range p.f.nodes {
		p.fault(p.f.unseal(n))
	}
	<-time.After(300 * time.Millisecond)
	return err
}

// ceremoniesHold: everything about the keys at once, while others write. All that was written can be read, and the keys
// that the last whole rekey answered are those that unseal. Meanwhile happens while all nodes are dead.
func ceremoniesHold(t testing.TB, f *fleet, s uint64, lasts time.Duration, meanwhile func()) {
	t.Helper()
	p := &ceremonies{f: f}
	p.aborts(t)
	for _, path := range []string{"chaos/data/kept", "plain/kept"} { // so that there is something to read, whatever the histories delete
		must(t, f.client(0, f.root).call("POST", path, `{"data":{"n":1}}`, nil))
	}
	h := perform(f, s, 200, func() {
		p.stop = make(chan struct{})
		var wg sync.WaitGroup
		for _, act := range []func([]*client, int) error{p.rotate, p.rekey, p.generate, p.seal} {
			wg.Go(func() { p.until(act) })
		}
		<-time.After(lasts)
		for range repeats { // on a slow machine each kind has its turn as well
			if p.idle() < 0 {
				break
			}
			<-time.After(lasts)
		}
		close(p.stop)
		wg.Wait()
	})
	h.judge(t)
	t.Logf("%d rotations, %d rekeys and %d aborted, %d root tokens, %d seals", p.count[0].Load(), p.count[1].Load(), p.count[2].Load(), p.count[3].Load(), p.count[4].Load())
	if kind := p.idle(); kind >= 0 {
		t.Errorf("nothing of kind %d happened: this shows nothing", kind)
	}
	for _, err := range p.errs[:min(20, len(p.errs))] {
		t.Error(err)
	}
	must(t, p.cancel(f.clients(), "sys/rekey/init"))
	must(t, f.killNodes())
	meanwhile()
	must(t, f.restartNodes())
	f.whole(t)
	f.readable(t)
	p.replaces(t)
}

// nothing happens.
func nothing() {}

// aborts begins a rekey and ends it, with nothing beside it: the keys that it was to replace unseal.
func (p *ceremonies) aborts(t testing.TB) {
	t.Helper()
	all := p.f.clients()
	must(t, p.rekey(all, aborted))
	must(t, all[0].call("PUT", "sys/seal", "", nil))
	if err := p.f.unseal(p.f.nodes[0]); err != nil {
		t.Fatalf("the keys of before an aborted rekey do not unseal: %v", err)
	}
}

// replaces makes one whole rekey with nothing beside it: the keys that it replaced open nothing, and the new ones do.
func (p *ceremonies) replaces(t testing.TB) {
	t.Helper()
	f, all, old := p.f, p.f.clients(), p.f.shares()
	must(t, p.rekey(all, aborted+1))
	if slices.Equal(old, f.shares()) {
		t.Error("a rekey answers the keys that it was to replace")
	}
	must(t, all[0].call("GET", "sys/rekey/init", "", nil)) // which waits until those are retired
	must(t, all[0].call("PUT", "sys/seal", "", nil))
	for _, key := range old[:2] {
		if err := all[0].call("PUT", "sys/unseal", fmt.Sprintf(`{"key":%q}`, key), nil); err == nil {
			t.Error("an unseal key that was replaced counts")
		}
	}
	must(t, f.unseal(f.nodes[0]))
	var slots struct{ Data struct{ Keys []string } }
	must(t, all[0].call("LIST", "sys/key-slots", "", &slots))
	t.Logf("%d key slots are left of rekeys that were cut short", len(slots.Data.Keys)-1)
}

// readable reads every secret there is, through every node.
func (f *fleet) readable(t testing.TB) {
	t.Helper()
	for _, mount := range []struct{ list, read string }{{"chaos/metadata", "chaos/data/"}, {"plain", "plain/"}} {
		var got struct{ Data struct{ Keys []string } }
		must(t, f.client(0, f.root).call("GET", mount.list+"?list=true", "", &got))
		if len(got.Data.Keys) == 0 {
			t.Errorf("%s lists nothing", mount.list)
		}
		for _, key := range got.Data.Keys {
			for i := range f.nodes {
				status, body, err := f.client(i, f.root).send("GET", mount.read+key, "")
				if err != nil || status != http.StatusOK && (status != http.StatusNotFound || !strings.HasPrefix(mount.list, "chaos")) {
					t.Errorf("%s%s cannot be read: %d %s %v", mount.read, key, status, body, err)
				}
			}
		}
	}
}
