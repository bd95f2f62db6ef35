package blackbox

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// keyring is every unseal key that was ever handed out, the newest last.
type keyring struct {
	mu   sync.Mutex
	slot string
	keys []string
}

func (k *keyring) add(slot, key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.slot, k.keys = slot, append(k.keys, key)
}

func (k *keyring) newest() (slot, key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.slot, k.keys[len(k.keys)-1]
}

// open unseals with any of the keys, the newest first.
func (k *keyring) open(s *servertest.Server) error {
	var last *servertest.Answer
	for range 20000 { // whoever did the last rekey may be reading its answer just now
		k.mu.Lock()
		keys := slices.Clone(k.keys)
		k.mu.Unlock()
		slices.Reverse(keys)
		for _, key := range keys {
			a, err := try(s, "PUT", "sys/unseal", "", `{"key":"`+key+`"}`)
			if err != nil {
				return err
			}
			if a.Status == 200 && a.Field("sealed") == false {
				return nil
			}
			last = a
		}
	}
	return fmt.Errorf("none of the keys unseals: %d %s", last.Status, last.Body)
}

// try is Try, to which an internal error is one.
func try(s *servertest.Server, method, path, token, body string) (*servertest.Answer, error) {
	a, err := s.Try(method, path, token, body)
	if err == nil && a.Status == 500 {
		err = fmt.Errorf("%s %s: %s", method, path, a.Body)
	}
	return a, err
}

// rekeyOnce replaces the slot's key. A seal may cut it short at any step.
func (k *keyring) rekeyOnce(s *servertest.Server) error {
	slot, key := k.newest()
	begun, err := try(s, "PUT", "sys/rekey/init", root, fmt.Sprintf(`{"secret_shares":1,"secret_threshold":1,"slot":%q}`, slot))
	switch {
	case err != nil || begun.Status == 503:
		return err
	case begun.Status != 200: // one that a seal has cut short is in progress
		return k.settle(s)
	}
	done, err := try(s, "PUT", "sys/rekey/update", "", fmt.Sprintf(`{"key":%q,"nonce":%q}`, key, begun.String("nonce")))
	if err != nil {
		return err
	}
	if done.Status == 200 && done.Field("complete") == true {
		k.add("", done.Field("keys").([]any)[0].(string))
	}
	return k.settle(s)
}

// settle finds the slot that takes the newest key, cancelling a rekey that was cut
// short.
func (k *keyring) settle(s *servertest.Server) error {
	for range 20000 {
		_, key := k.newest()
		// A seal that came between answer and retirement leaves both keys: the newest is
		// verified. Where that is no new key, its answer was cut short.
		waits, err := try(s, "GET", "sys/rekey/verify", "", "")
		if err != nil {
			return err
		}
		if waits.Field("started") == true {
			a, err := try(s, "PUT", "sys/rekey/verify", "", fmt.Sprintf(`{"key":%q,"nonce":%q}`, key, waits.String("nonce")))
			if err != nil {
				return err
			}
			if a.Status == 503 {
				continue
			}
		}
		if waits.Status != 200 {
			continue // sealed
		}
		if _, err := try(s, "DELETE", "sys/rekey/init", root, ""); err != nil {
			return err
		}
		list, err := try(s, "LIST", "sys/key-slots", root, "")
		if err != nil {
			return err
		}
		slots, _ := list.Field("data", "keys").([]any)
		for _, id := range slots {
			a, err := try(s, "POST", fmt.Sprintf("sys/key-slots/%v/test", id), root, fmt.Sprintf(`{"keys":[%q]}`, key))
			if err != nil {
				return err
			}
			if a.Status == 204 {
				k.mu.Lock()
				k.slot = id.(string)
				k.mu.Unlock()
				return nil
			}
		}
	}
	return fmt.Errorf("no key slot takes the newest key")
}

// rootOnce makes a root token and, if nothing came between, uses it.
func (k *keyring) rootOnce(s *servertest.Server) error {
	slot, key := k.newest()
	begun, err := try(s, "PUT", "sys/generate-root/attempt", root, fmt.Sprintf(`{"slot":%q}`, slot))
	if err != nil {
		return err
	}
	if begun.Status == 200 {
		done, err := try(s, "PUT", "sys/generate-root/update", "", fmt.Sprintf(`{"key":%q,"nonce":%q}`, key, begun.String("nonce")))
		if err != nil {
			return err
		}
		if done.Status == 200 && done.Field("complete") == true {
			return useToken(s, done.String("encoded_token"), begun.String("otp"))
		}
	}
	_, err = try(s, "DELETE", "sys/generate-root/attempt", root, "")
	return err
}

func useToken(s *servertest.Server, encoded, pad string) error {
	token, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil || len(token) != len(pad) {
		return fmt.Errorf("a token of %d for a pad of %d, %w", len(token), len(pad), err)
	}
	for i := range token {
		token[i] ^= pad[i]
	}
	a, err := try(s, "GET", "auth/token/lookup-self", string(token), "")
	if err == nil && a.Status != 200 && a.Status != 503 {
		err = fmt.Errorf("a new root token is answered %d %s", a.Status, a.Body)
	}
	return err
}

// history is, by writer and secret, the last write that was acknowledged.
type history [4][50]int

// write writes until it is stopped.
func (h *history) write(t *testing.T, s *servertest.Server, w int, stop <-chan struct{}) {
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		a, err := try(s, "PUT", fmt.Sprintf("kv1/race/%d/%d", w, n%50), root, fmt.Sprintf(`{"n":"%d"}`, n))
		if err != nil {
			t.Error(err)
			return
		}
		if a.Status == 204 {
			h[w][n%50] = n
		} else if a.Status != 503 {
			t.Errorf("a write was answered %d %s", a.Status, a.Body)
		}
	}
}

// check reads everything and counts it.
func (h *history) check(t *testing.T, s *servertest.Server) (total int) {
	t.Helper()
	for w := range h {
		for k, last := range h[w] {
			if last == 0 {
				continue
			}
			total++
			var n int // a later write may have been done, and not acknowledged
			a := s.Do(t, "GET", fmt.Sprintf("kv1/race/%d/%d", w, k), root, "")
			if _, err := fmt.Sscan(a.String("data", "n"), &n); a.Status != 200 || err != nil || n < last {
				t.Errorf("writer %d wrote %d last, and there is %d %s", w, last, a.Status, a.Body)
			}
		}
	}
	return total
}

// TestCeremoniesAtOnce rotates, rekeys, makes root tokens and seals all at once under
// writes: every write that was acknowledged can be read, and the newest key unseals.
func TestCeremoniesAtOnce(t *testing.T) {
	s := furnished(t)
	t.Cleanup(func() {
		for line := range strings.Lines(string(s.Log.Bytes())) {
			if t.Failed() && strings.Contains(line, "ERROR") {
				t.Log(line)
			}
		}
	})
	ring := &keyring{}
	ring.add(slotOfOne(t, s))
	var all, load sync.WaitGroup
	stop := make(chan struct{})
	var written history
	for w := range written {
		load.Go(func() { written.write(t, s, w, stop) })
	}
	several := func(times int, what func() error) {
		all.Go(func() {
			for range times {
				if err := what(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	several(4, func() error {
		_, before := ring.newest()
		for range 20000 { // most meet a sealed server
			if err := ring.rekeyOnce(s); err != nil {
				return err
			}
			if _, now := ring.newest(); now != before {
				return nil
			}
		}
		return errors.New("no rekey was done in 20000")
	})
	several(15, func() error { return ring.rootOnce(s) })
	several(15, func() error { _, err := try(s, "PUT", "sys/rotate", root, ""); return err })
	several(5, func() error {
		if _, err := try(s, "PUT", "sys/seal", root, ""); err != nil {
			return err
		}
		return ring.open(s)
	})
	all.Wait()
	close(stop)
	load.Wait()
	if err := ring.settle(s); err != nil {
		t.Error(err)
	}
	s.Want(t, 204, "PUT", "sys/seal", root, "")
	if err := ring.open(s); err != nil {
		t.Fatal(err)
	}
	if total := written.check(t, s); total < 20 || len(ring.keys) < 3 {
		t.Errorf("only %d secrets were written, and %d rekeys done", total, len(ring.keys)-1)
	}
}
