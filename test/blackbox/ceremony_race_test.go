package blackbox

import (
	"encoding/base64"
	"fmt"
	"slices"
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
	k.mu.Lock()
	keys := slices.Clone(k.keys)
	k.mu.Unlock()
	slices.Reverse(keys)
	for range 20 { // a rekey may finish just now
		for _, key := range keys {
			a, err := s.Try("PUT", "sys/unseal", "", `{"key":"`+key+`"}`)
			if err != nil {
				return err
			}
			if a.Status == 200 && a.Field("sealed") == false {
				return nil
			}
		}
	}
	return fmt.Errorf("none of %d keys unseals", len(keys))
}

// rekeyOnce replaces the slot's key. A seal may cut it short at any step.
func (k *keyring) rekeyOnce(s *servertest.Server) error {
	slot, key := k.newest()
	begun, err := s.Try("PUT", "sys/rekey/init", root, fmt.Sprintf(`{"secret_shares":1,"secret_threshold":1,"slot":%q}`, slot))
	if err != nil || begun.Status != 200 {
		return err
	}
	done, err := s.Try("PUT", "sys/rekey/update", "", fmt.Sprintf(`{"key":%q,"nonce":%q}`, key, begun.String("nonce")))
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
	for range 500 {
		_, key := k.newest()
		if _, err := s.Try("DELETE", "sys/rekey/init", root, ""); err != nil {
			return err
		}
		list, err := s.Try("LIST", "sys/key-slots", root, "")
		if err != nil {
			return err
		}
		slots, _ := list.Field("data", "keys").([]any)
		for _, id := range slots {
			a, err := s.Try("POST", fmt.Sprintf("sys/key-slots/%v/test", id), root, fmt.Sprintf(`{"keys":[%q]}`, key))
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
	begun, err := s.Try("PUT", "sys/generate-root/attempt", root, fmt.Sprintf(`{"slot":%q}`, slot))
	if err != nil {
		return err
	}
	if begun.Status == 200 {
		done, err := s.Try("PUT", "sys/generate-root/update", "", fmt.Sprintf(`{"key":%q,"nonce":%q}`, key, begun.String("nonce")))
		if err != nil {
			return err
		}
		if done.Status == 200 && done.Field("complete") == true {
			return useToken(s, done.String("encoded_token"), begun.String("otp"))
		}
	}
	_, err = s.Try("DELETE", "sys/generate-root/attempt", root, "")
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
	a, err := s.Try("GET", "auth/token/lookup-self", string(token), "")
	if err == nil && a.Status != 200 && a.Status != 503 {
		err = fmt.Errorf("a new root token is answered %d %s", a.Status, a.Body)
	}
	return err
}

// TestCeremoniesAtOnce rotates, rekeys, makes root tokens and seals all at once under
// writes: every write that was acknowledged can be read, and the newest key unseals.
func TestCeremoniesAtOnce(t *testing.T) {
	s := furnished(t)
	ring := &keyring{}
	ring.add(slotOfOne(t, s))
	var all, load sync.WaitGroup
	stop := make(chan struct{})
	written := make([]int, 4)
	for w := range written {
		load.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				a, err := s.Try("PUT", fmt.Sprintf("kv1/race/%d/%d", w, n%50), root, fmt.Sprintf(`{"n":"%d"}`, n))
				if err != nil {
					t.Error(err)
					return
				}
				if a.Status == 204 {
					written[w] = n
				} else if a.Status != 503 {
					t.Errorf("a write was answered %d %s", a.Status, a.Body)
				}
			}
		})
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
	several(15, func() error { return ring.rekeyOnce(s) })
	several(15, func() error { return ring.rootOnce(s) })
	several(15, func() error { _, err := s.Try("PUT", "sys/rotate", root, ""); return err })
	several(5, func() error {
		if _, err := s.Try("PUT", "sys/seal", root, ""); err != nil {
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
	for w, last := range written {
		if last == 0 {
			t.Errorf("writer %d wrote nothing", w)
			continue
		}
		for n := range 50 {
			a := s.Do(t, "GET", fmt.Sprintf("kv1/race/%d/%d", w, n), root, "")
			if a.Status != 200 && (a.Status != 404 || last > 100) {
				t.Errorf("writer %d, secret %d: %d %s", w, n, a.Status, a.Body)
			}
		}
		if a := s.Do(t, "GET", fmt.Sprintf("kv1/race/%d/%d", w, last%50), root, ""); a.String("data", "n") != fmt.Sprint(last) {
			t.Errorf("writer %d wrote %d last, and there is %s", w, last, a.Body)
		}
	}
}
