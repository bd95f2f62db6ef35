package servertest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
)

// Lender is a secret engine that lends user names, and the system beyond it in
// which they exist. Its zero value is ready.
type Lender struct {
	mu      sync.Mutex
	live    map[string]bool
	revoked map[string]int
	broken  error
}

// WithLender adds the engine, as type lender, to a server.
func WithLender(l *Lender) Option {
	return func(c *server.Config) { c.Engines = append(c.Engines, l.Engine()) }
}

// Loan is what a request for a user name may ask for.
type Loan struct {
	Name   string       `path:"name"`
	TTL    api.Duration `json:"ttl"`
	MaxTTL api.Duration `json:"max_ttl"`
	Fixed  bool         `json:"fixed"` // not renewable
}

// User is a user name that was lent.
type User struct {
	Username string `json:"username"`
	lease    *api.Lease
}

// Lease is the lease of the user name.
func (u *User) Lease() *api.Lease { return u.lease }

// Engine is the engine's row for the table of secret engines.
func (l *Lender) Engine() api.Engine {
	eps, err := api.Bind(l, []api.Route[*Lender]{
		api.Handle(api.Read, "creds/{name}", (*Lender).lend),
		api.Handle(api.Write, "creds/{name}", (*Lender).lend),
	})
	if err != nil {
		panic(err)
	}
	return api.Engine{Type: "lender", Description: "User names on loan.", Endpoints: eps,
		Leases: map[string]api.LeaseKind{"user": {Renew: l.renew, Revoke: l.revoke}}}
}

func (l *Lender) lend(_ *api.Call, q *Loan) (*User, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		l.live, l.revoked = map[string]bool{}, map[string]int{}
	}
	u := &User{Username: q.Name + "-" + rand.Text()}
	l.live[u.Username] = true
	u.lease = &api.Lease{Kind: "user", TTL: q.TTL.Std(), MaxTTL: q.MaxTTL.Std(), Renewable: !q.Fixed, Private: []byte(u.Username)}
	return u, nil
}

func (l *Lender) renew(_ *api.Call, h *api.Held) (*api.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.live[string(h.Private)] {
		return nil, errors.New("no such user")
	}
	return nil, nil
}

func (l *Lender) revoke(_ *api.Call, h *api.Held) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	delete(l.live, string(h.Private))
	l.revoked[string(h.Private)]++
	return nil
}

// Break makes every revocation fail; nil heals.
func (l *Lender) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

// Live is how many user names exist.
func (l *Lender) Live() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.live)
}

// Has reports whether a user name exists.
func (l *Lender) Has(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live[name]
}

// Borrow asks a server for a user name from the engine at a mount.
func (s *Server) Borrow(t testing.TB, mount, token, body string, headers ...string) (leaseID, username string) {
	t.Helper()
	a := s.Want(t, 200, "POST", mount+"/creds/app", token, body, headers...)
	if leaseID, username = a.String("lease_id"), a.String("data", "username"); leaseID == "" || username == "" {
		t.Fatalf("no lease: %s", a.Body)
	}
	return leaseID, username
}

// LeaseBody is a request's body that names a lease; more is further members.
func LeaseBody(id string, more string) string {
	return fmt.Sprintf(`{"lease_id":%q%s}`, id, more)
}
