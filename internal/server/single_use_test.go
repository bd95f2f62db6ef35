package server_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// TestUsesAreExactOnAllNodes races for the uses of a token, and for a wrapped answer,
// on three nodes at once: so many win as there are uses, and each winner is answered.
func TestUsesAreExactOnAllNodes(t *testing.T) {
	const rounds, racers, uses = 20, 64, 5
	f := startNodes(t, 3)
	race := func(method, path, token string) int64 {
		var won atomic.Int64
		var work sync.WaitGroup
		for i := range racers {
			work.Go(func() {
				if a, err := f.all[i%3].Try(method, path, token, ""); err == nil && a.Status == 200 {
					won.Add(1)
				}
			})
		}
		work.Wait()
		return won.Load()
	}
	for i := range rounds {
		token := f.all[i%3].Want(t, 200, "PUT", "auth/token/create", f.root, fmt.Sprintf(`{"policies":["default"],"num_uses":%d}`, uses)).String("auth", "client_token")
		if won := race("GET", "auth/token/lookup-self", token); won != uses {
			t.Errorf("round %d: %d of %d racers used a token with %d uses", i, won, racers, uses)
		}
		wrapped := f.all[i%3].Want(t, 200, "PUT", "sys/wrapping/wrap", f.root, `{"a":"b"}`, "X-Vault-Wrap-TTL", "60s").String("wrap_info", "token")
		if won := race("PUT", "sys/wrapping/unwrap", wrapped); won != 1 {
			t.Errorf("round %d: %d of %d racers unwrapped", i, won, racers)
		}
	}
}
