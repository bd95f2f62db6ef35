package fleet

import (
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
	Version  string   `json:"version"`
	Format   int      `json:"format"`            // The newest stored format that it reads.
	State    string   `json:"state"`             // active, sealed, uninitialized, or lost: not heard of for a minute.
	Started  api.Time `json:"started"`           // When its process began.
	LastSeen api.Time `json:"last_seen"`         // When it last told of itself.
	Revision uint64   `json:"revision"`          // Up to which it had applied the store's commits then.
	Lag      Millis   `json:"lag_ms"`            // How many milliseconds it had taken to catch up with the store.
	Warning  string   `json:"warning,omitempty"` // What its operator must know of the store.
}

// nodes lists the nodes on the store.
func (f *Fleet) nodes(c *api.Call, _ *api.None) (*Nodes, error) {
	members, err := f.Members(c)
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
	for _, m := range members {
		if m.Warning != "" {
			c.Warn(m.Name + ": " + m.Warning)
		}
		out.Nodes = append(out.Nodes, NodeInfo{ID: m.ID, Hostname: m.Name, Address: m.Address, Version: m.Version, Format: m.Format, State: f.state(&m),
			Started: api.Time{Time: m.Started}, LastSeen: api.Time{Time: m.Seen}, Revision: uint64(m.Revision), Lag: m.Lag, Warning: m.Warning})
	}
	return out, nil
}

func (f *Fleet) state(m *Member) string {
	switch {
	case m.Lost(f.Now()):
		return "lost"
	case !m.Ready:
		return "uninitialized"
	case m.Sealed:
		return "sealed"
	}
	return "active"
}
