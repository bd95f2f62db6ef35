package fleet

import (
	"cmp"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Routes are the endpoints about the nodes, relative to sys/.
func Routes() []api.Route[*Fleet] {
	return []api.Route[*Fleet]{api.Handle(api.Read, "nodes", (*Fleet).nodes, api.RootOnly)}
}

// Nodes are all nodes on the store.
type Nodes struct {
	Nodes    []NodeInfo `json:"nodes"`
	Self     string     `json:"self"`     // The id of the node that answers.
	Revision store.Rev  `json:"revision"` // Up to which the store has commits.
	Format   int        `json:"format"`   // The stored format that nodes write.
}

// NodeInfo is one node, as it last told of itself.
type NodeInfo struct {
	ID       string   `json:"id"`
	Hostname string   `json:"hostname"`
	Address  string   `json:"api_address"`
	Version  string   `json:"version"`           // Of its program, with the commit.
	API      string   `json:"api_version"`       // Of the API that it speaks.
	Format   int      `json:"format"`            // The newest stored format that it reads.
	State    string   `json:"state"`             // active, sealed, uninitialized, lost: not heard of for a minute, or gone: for an hour.
	Started  api.Time `json:"started"`           // When its process began.
	LastSeen api.Time `json:"last_seen"`         // When it last told of itself, by its own clock.
	Clock    Millis   `json:"clock_ms"`          // By how many milliseconds its clock is ahead of that of the node that answers, within twenty seconds; negative: behind; 0: by little, or it is not known yet.
	Revision uint64   `json:"revision"`          // Up to which it had applied the store's commits then.
	Lag      Millis   `json:"lag_ms"`            // How many milliseconds it had taken to catch up with the store.
	Warning  string   `json:"warning,omitempty"` // What its operator must know of the store.
	Earlier  []Life   `json:"earlier,omitempty"` // Processes that were here before and were killed, the newest first.
}

// Life is a process that was a node and has ended.
type Life struct {
	ID       string   `json:"id"`
	Started  api.Time `json:"started"`   // When it began.
	LastSeen api.Time `json:"last_seen"` // When it last told of itself.
}

// nodes lists the nodes on the store.
func (f *Fleet) nodes(c *api.Call, _ *api.None) (*Nodes, error) {
	nodes, err := f.Nodes(c)
	if err != nil {
		return nil, err
	}
	out := &Nodes{Self: f.ID}
	if out.Format, err = Stored(c, f.Store); err != nil {
		return nil, err
	}
	if out.Revision, err = f.Store.Sync(c); err != nil {
		return nil, err
	}
	if f.Notice != nil {
		if text := f.Notice(c); text != "" {
			c.Warn(text)
		}
	}
	for _, n := range nodes {
		if n.Warning != "" {
			c.Warn(n.Name + ": " + n.Warning)
		}
		out.Nodes = append(out.Nodes, f.info(&n))
	}
	return out, nil
}

func (f *Fleet) info(n *Node) NodeInfo {
	i := NodeInfo{
		ID: n.ID, Hostname: n.Name, Address: n.Address, Version: cmp.Or(n.Program, n.Version), API: n.Version, Format: n.Format, State: f.state(&n.Member), Started: api.Time{Time: n.Started},
		LastSeen: api.Time{Time: n.Seen}, Clock: Millis(n.Clock), Revision: uint64(n.Revision), Lag: n.Lag, Warning: n.Warning,
	}
	for _, m := range n.Earlier {
		i.Earlier = append(i.Earlier, Life{m.ID, api.Time{Time: m.Started}, api.Time{Time: m.Seen}})
	}
	return i
}

func (f *Fleet) state(m *Member) string {
	switch {
	case m.silence(f.Now()) > goneAfter:
		return "gone"
	case m.Lost(f.Now()):
		return "lost"
	case !m.Ready:
		return "uninitialized"
	case m.Sealed:
		return "sealed"
	}
	return "active"
}
