package chaos

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// fileLender is an engine that lends names, which exist as files in a directory: what all nodes lend is seen from outside.
type fileLender struct{ dir string }

// Loan asks for a name.
type Loan struct {
	Name string       `path:"name"` // What the name begins with.
	TTL  api.Duration `json:"ttl"`  // How long it is lent.
}

// Lent is a name that was lent.
type Lent struct {
	Name  string `json:"name"`
	lease *api.Lease
}

// Lease is the lease of the name.
func (l *Lent) Lease() *api.Lease { return l.lease }

func (f fileLender) engine() (api.Engine, error) {
	eps, err := api.Bind(f, []api.Route[fileLender]{api.Handle(api.Write, "creds/{name}", fileLender.lend)})
	kind := api.LeaseKind{Renew: func(*api.Call, *api.Held) (*api.Lease, error) { return nil, nil }, Revoke: f.revoke}
	return api.Engine{Type: "lender", Description: "Names on loan.", Endpoints: eps, Leases: map[string]api.LeaseKind{"name": kind}}, err
}

func (f fileLender) lend(_ *api.Call, q *Loan) (*Lent, error) {
	name := q.Name + "-" + rand.Text()
	lease := &api.Lease{Kind: "name", TTL: q.TTL.Std(), MaxTTL: q.TTL.Std(), Private: []byte(name)}
	return &Lent{name, lease}, os.WriteFile(filepath.Join(f.dir, name), nil, 0o600)
}

func (f fileLender) revoke(_ *api.Call, h *api.Held) error {
	if err := os.Remove(filepath.Join(f.dir, string(h.Private))); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// jumpers are nodes that are processes, whose clocks are set while they run.
type jumpers struct {
	f     *fleet
	dir   string // what is lent
	past  time.Duration
	ahead [fleetSize]time.Duration
	began time.Duration // past when the course began
}

func newJumpers(t *testing.T, engine string, deaf bool) *jumpers {
	t.Helper()
	j := &jumpers{dir: t.TempDir()}
	clocks := t.TempDir()
	j.f = newFleet(t, engine, func(i int, s *spec) {
		s.Clock, s.Lends, s.Deaf = filepath.Join(clocks, s.Name), j.dir, deaf
	})
	must(t, j.f.client(0, j.f.root).call("POST", "sys/mounts/lends", `{"type":"lender"}`, nil))
	return j
}

// set sets all clocks. A node reads the whole of an old or a new one.
func (j *jumpers) set() error {
	var err error
	for i, n := range j.f.nodes {
		fresh := n.spec.Clock + ".new"
		seconds := strconv.Itoa(int((j.past + j.ahead[i]).Seconds()))
		err = errors.Join(err, os.WriteFile(fresh, []byte(seconds), 0o600), os.Rename(fresh, n.spec.Clock))
	}
	return err
}

// own is how far the clock of a node has come in this course.
func (j *jumpers) own(i int) time.Duration { return j.past - j.began + j.ahead[i] }

// lent is whether a name that was lent has not been taken back.
func (j *jumpers) lent(name string) bool {
	_, err := os.Stat(filepath.Join(j.dir, name))
	return err == nil
}

// jump is a step: the time goes on, and one clock is set.
func (j *jumpers) jump(t testing.TB, r *mathrand.Rand) {
	t.Helper()
	j.past += time.Duration(r.Int64N(int64(2 * time.Minute)))
	j.ahead[r.IntN(fleetSize)] = time.Duration(r.Int64N(int64(2*skew)) - int64(skew))
	must(t, j.set())
}

// course lends a name and makes a token for twenty minutes, and looks at both until the clocks are past that.
func (j *jumpers) course(t testing.TB, r *mathrand.Rand) (alive, dead int) {
	t.Helper()
	j.past += time.Hour
	j.ahead, j.began = [fleetSize]time.Duration{}, j.past
	must(t, j.set())
	c := j.f.client(r.IntN(fleetSize), j.f.root)
	var made struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		}
	}
	must(t, c.call("POST", "auth/token/create", `{"ttl":"20m"}`, &made))
	var loan struct{ Data struct{ Name string } }
	must(t, c.call("POST", "lends/creds/a", `{"ttl":"20m"}`, &loan))
	for furthest := time.Duration(0); j.past-j.began < lifetime+2*skew; {
		j.jump(t, r)
		for i := range j.f.nodes {
			furthest = max(furthest, j.own(i))
		}
		early := furthest < lifetime-2*slack
		for i := range j.f.nodes {
			status, _, err := newHolder(j.f.client(i, ""), made.Auth.ClientToken).send("GET", "auth/token/lookup-self", "")
			must(t, err)
			switch {
			case status == http.StatusOK && j.own(i) > lifetime+slack:
				t.Errorf("node %d lets a token of %v live at %v", i, lifetime, j.own(i))
			case status != http.StatusOK && early:
				t.Errorf("node %d answers %d at %v, when no clock had come further than %v", i, status, j.own(i), furthest)
			case status == http.StatusOK:
				alive++
			default:
				dead++
			}
		}
		if early && !j.lent(loan.Data.Name) {
			t.Errorf("a name that was lent for %v is taken back when no clock had come further than %v", lifetime, furthest)
		}
	}
	gone := func() error {
		return awaitFor(10*time.Second, "it is taken back", func() bool { return !j.lent(loan.Data.Name) })
	}
	if gone() != nil { // a node whose clock was ahead may have claimed it, and failed once: the others wait for the end of its claim
		j.past += 4 * skew
		must(t, j.set())
		if gone() != nil {
			t.Errorf("a name that was lent for %v is not taken back ten seconds after all clocks were set past that, and past any claim", lifetime)
		}
		t.Log("a name was taken back only after the end of a claim")
	}
	return alive, dead
}

// jumpsEnd has the clocks of processes jump, over courses of a token and a lease.
func (j *jumpers) jumpsEnd(t testing.TB, r *mathrand.Rand, courses int) {
	t.Helper()
	alive, dead := 0, 0
	for range courses {
		a, d := j.course(t, r)
		alive, dead = alive+a, dead+d
	}
	t.Logf("%d courses: %d uses of tokens let through and %d not", courses, alive, dead)
	if alive < courses || dead < courses {
		t.Error("this shows nothing")
	}
}

// TestJumps sets the clocks of nodes that are processes. Tokens end by the clock of the node that is asked, and leases are
// taken back once a clock has come to their end, though it was set there.
func TestJumps(t *testing.T) {
	for engine := range strings.SplitSeq(*engines, ",") {
		t.Run(engine, func(t *testing.T) {
			j := newJumpers(t, engine, false)
			j.jumpsEnd(t, mathrand.New(mathrand.NewPCG(drawn(t), 6)), max(1, *schedules/10))
		})
	}
}

// TestJumpsControl is the control: nodes that do not look at their clocks.
func TestJumpsControl(t *testing.T) {
	t.Parallel()
	j, r := newJumpers(t, "postgres", true), mathrand.New(mathrand.NewPCG(drawn(t), 6))
	caught(t, func(t testing.TB) { j.jumpsEnd(t, r, 1) }, fmt.Sprintf("lets a token of %v live", lifetime), "is not taken back")
}
