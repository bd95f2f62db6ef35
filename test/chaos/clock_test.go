package chaos

import (
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// skewed are nodes in this process on one store, each with a clock that is ahead of or behind the true time.
type skewed struct {
	began time.Time
	past  atomic.Int64 // true time since then
	ahead [fleetSize]atomic.Int64
	nodes []*servertest.Server
	root  string
}

func newSkewed(t *testing.T) *skewed {
	t.Helper()
	k, data := &skewed{began: time.Now()}, mem.New(mem.Options{})
	for i := range fleetSize {
		now := func() time.Time { return k.began.Add(time.Duration(k.past.Load() + k.ahead[i].Load())) }
		k.nodes = append(k.nodes, servertest.StartAt(t, now, servertest.Silent, func(c *server.Config) {
			c.DevRoot = api.Secret{}
			c.Shared = &server.Shared{Engine: func(*slog.Logger) (store.Engine, error) { return data.Open(), nil }}
		}))
	}
	made := k.nodes[0].Want(t, 200, "PUT", "sys/init", "", `{"secret_shares":1,"secret_threshold":1}`)
	k.root = made.String("root_token")
	for _, n := range k.nodes {
		n.Want(t, 200, "PUT", "sys/unseal", "", `{"key":"`+made.Field("keys").([]any)[0].(string)+`"}`)
	}
	return k
}

// latest is how far the clock of the node that is most ahead has come.
func (k *skewed) latest() time.Duration {
	most := k.ahead[0].Load()
	for i := range k.ahead {
		most = max(most, k.ahead[i].Load())
	}
	return time.Duration(k.past.Load() + most)
}

// TestClocks moves the true time on, and sets clocks wrong by up to five minutes. A node lets no token live that its own clock
// says is over, and none dies before its time by the clock that is most ahead.
func TestClocks(t *testing.T) {
	const life, slack, skew = 20 * time.Minute, 5 * time.Second, 5 * time.Minute
	r := rand.New(rand.NewPCG(drawn(t), 4))
	k, alive, dead := newSkewed(t), 0, 0
	for range *schedules {
		k.past.Store(0)
		for i := range k.ahead {
			k.ahead[i].Store(0)
		}
		token := k.nodes[r.IntN(fleetSize)].Want(t, 200, "POST", "auth/token/create", k.root, `{"ttl":"20m"}`).String("auth", "client_token")
		furthest := time.Duration(0)
		for k.past.Load() < int64(life+2*skew) {
			k.past.Add(r.Int64N(int64(2 * time.Minute)))
			k.ahead[r.IntN(fleetSize)].Store(r.Int64N(int64(2*skew)) - int64(skew))
			furthest = max(furthest, k.latest())
			for i, n := range k.nodes {
				own := time.Duration(k.past.Load() + k.ahead[i].Load())
				switch status := n.Do(t, "GET", "auth/token/lookup-self", token, "").Status; {
				case status == 200 && own > life:
					t.Errorf("node %d lets a token of %v live at %v", i, life, own)
				case status != 200 && furthest < life-slack:
					t.Errorf("node %d answers %d at %v, when no clock had come further than %v", i, status, own, furthest)
				case status == 200:
					alive++
				default:
					dead++
				}
			}
		}
	}
	t.Logf("%d uses let through and %d not", alive, dead)
	if alive < *schedules || dead < *schedules {
		t.Errorf("this shows nothing")
	}
}
