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

// newSkewed starts the nodes. Deaf ones do not look at what their clocks are set to.
func newSkewed(t *testing.T, deaf bool) *skewed {
	t.Helper()
	k, data := &skewed{began: time.Now()}, mem.New(mem.Options{})
	for i := range fleetSize {
		now := func() time.Time {
			if deaf {
				return k.began
			}
			return k.began.Add(time.Duration(k.past.Load() + k.ahead[i].Load()))
		}
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

// lifetime is how long what the clocks end lives, slack how far from its end it may end, and skew how wrong a clock is at most.
const (
	lifetime = 20 * time.Minute
	slack    = 5 * time.Second
	skew     = 5 * time.Minute
)

// TestClocks moves the true time on, and sets clocks wrong by up to five minutes. A node lets no token live that its own clock
// says is over, and none dies before its time by the clock that is most ahead.
func TestClocks(t *testing.T) {
	clocksEndTokens(t, newSkewed(t, false), rand.New(rand.NewPCG(drawn(t), 4)), *schedules)
}

// TestClocksControl is the control: nodes that do not look at what their clocks are set to.
func TestClocksControl(t *testing.T) {
	k, r := newSkewed(t, true), rand.New(rand.NewPCG(drawn(t), 4))
	caught(t, func(t testing.TB) { clocksEndTokens(t, k, r, 1) }, "lets a token of 20m0s live")
}

func clocksEndTokens(t testing.TB, k *skewed, r *rand.Rand, courses int) {
	t.Helper()
	alive, dead := 0, 0
	for range courses {
		k.past.Store(0)
		for i := range k.ahead {
			k.ahead[i].Store(0)
		}
		token := k.nodes[r.IntN(fleetSize)].Want(t, 200, "POST", "auth/token/create", k.root, `{"ttl":"20m"}`).String("auth", "client_token")
		furthest := time.Duration(0)
		for k.past.Load() < int64(lifetime+2*skew) {
			k.past.Add(r.Int64N(int64(2 * time.Minute)))
			k.ahead[r.IntN(fleetSize)].Store(r.Int64N(int64(2*skew)) - int64(skew))
			furthest = max(furthest, k.latest())
			for i, n := range k.nodes {
				own := time.Duration(k.past.Load() + k.ahead[i].Load())
				switch status := n.Do(t, "GET", "auth/token/lookup-self", token, "").Status; {
				case status == 200 && own > lifetime:
					t.Errorf("node %d lets a token of %v live at %v", i, lifetime, own)
				case status != 200 && furthest < lifetime-slack:
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
	if alive < courses || dead < courses {
		t.Errorf("this shows nothing")
	}
}
