package operator

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// SealRequest seals.
type SealRequest struct {
	Fleet bool `json:"fleet"` // Seal all nodes on this store, not only the one that is asked.
}

// SealAnswer says of the other nodes who has not sealed yet.
type SealAnswer struct {
	// Unconfirmed are the ids of living nodes that have not said within five seconds
	// that they are sealed. The order stands: they obey it before they answer anything.
	Unconfirmed []string `json:"unconfirmed"`
	// UnconfirmedNodes says of the same nodes where they are.
	UnconfirmedNodes []SealOpen `json:"unconfirmed_nodes"`
}

// SealOpen is a node that has not said that it is sealed.
type SealOpen struct {
	ID       string   `json:"id"`
	Hostname string   `json:"hostname"`
	Address  string   `json:"api_address"`
	LastSeen api.Time `json:"last_seen"` // When it last told of itself.
}

// seal seals once the answer has been written down: from then on nothing else
// is answered.
func (d *Desk) seal(c *api.Call, q *SealRequest) (*SealAnswer, error) {
	d.settle()
	var answer *SealAnswer
	if q.Fleet {
		open, err := d.SealAll(c)
		if err != nil {
			return nil, err
		}
		answer = &SealAnswer{Unconfirmed: []string{}, UnconfirmedNodes: []SealOpen{}}
		for _, m := range open {
			answer.Unconfirmed = append(answer.Unconfirmed, m.ID)
			answer.UnconfirmedNodes = append(answer.UnconfirmedNodes, SealOpen{m.ID, m.Name, m.Address, api.Time{Time: m.Seen}})
		}
	}
	c.After(func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.Shut(context.WithoutCancel(c))
	})
	return answer, nil
}

// healthTime bounds how long it is tried to reach the store.
const healthTime = 2 * time.Second

// health answers with the status code that load balancers read. A node that is
// unsealed reads from the store: one that cannot, or that is behind, is unhealthy, and
// so is one that refuses requests for want of an audit device.
func (d *Desk) health(c *api.Call, q *HealthRequest) (*api.Raw, error) {
	for _, code := range q.codes() {
		if code < 200 || code > 599 {
			return nil, api.Errorf(api.Invalid, "a status code must be between 200 and 599")
		}
	}
	ctx, cancel := context.WithTimeout(c, healthTime)
	defer cancel()
	s, err := d.status(ctx)
	if err != nil && d.Barrier.Sealed() {
		return nil, &api.Error{Kind: api.Unavailable, Message: storeAway, Hint: "the server's log has the cause", Err: err}
	}
	if err != nil { // an unsealed node is not to be taken for a sealed one
		d.Log.Warn("this node is unhealthy: the store cannot be read", slog.Any("error", err))
		s = &SealStatus{Initialized: true, ClusterName: d.ClusterName, ClusterID: d.Barrier.ClusterID()}
	}
	h := &Health{Initialized: s.Initialized, Sealed: s.Sealed, PerfMode: "disabled", DRMode: "disabled", ServerTime: c.Now.Unix(),
		Version: d.Version, ClusterName: s.ClusterName, ClusterID: s.ClusterID, LeasesHeld: s.LeasesHeld, Warning: d.Warning()}
	code := q.ActiveCode
	switch {
	case !s.Initialized:
		code = q.UninitCode
	case s.Sealed:
		code = q.SealedCode
	default:
		if ill := d.illness(c, err); ill != "" {
			code, h.Warning = q.HAUnhealthyCode, strings.Trim(ill+"; "+h.Warning, "; ")
		}
	}
	return api.JSON(code, h)
}

// illness is why an unsealed node should be sent nothing, or empty; failed is why the store could not be read. Who asks need not
// show a token, so it names nothing.
func (d *Desk) illness(c *api.Call, failed error) string {
	switch {
	case failed != nil:
		return storeAway
	case d.Audited(c) != nil:
		return "requests are refused, since no audit device takes their entries; the server's log says which and why"
	}
	err := d.Probe(c)
	var known *api.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &known):
		return known.Message
	}
	d.Log.Warn("this node is unhealthy: it does not keep up with the store", slog.Any("error", err))
	if errors.Is(err, store.ErrUnreachable) {
		return storeAway
	}
	return "this node does not keep up with its store, or cannot reach it"
}

// Leader is who serves: every node does.
type Leader struct {
	HAEnabled      bool   `json:"ha_enabled"`
	IsSelf         bool   `json:"is_self"`
	Address        string `json:"leader_address"`
	ClusterAddress string `json:"leader_cluster_address"`
	Standby        bool   `json:"performance_standby"`
	LastWAL        int64  `json:"performance_standby_last_remote_wal"`
}

// leader says which node leads. Every node serves everything, so each one names
// itself, as the active node of a fleet does.
func (d *Desk) leader(_ *api.Call, _ *api.None) (*Leader, error) {
	return &Leader{HAEnabled: !d.Fleet.Alone, IsSelf: true, Address: d.Address}, nil
}

// HAStatus lists the nodes.
type HAStatus struct {
	Nodes []Node `json:"nodes"`
}

// Node is one server of a fleet.
type Node struct {
	Hostname   string    `json:"hostname"`
	APIAddress string    `json:"api_address"`
	Cluster    string    `json:"cluster_address"`
	Active     bool      `json:"active_node"`
	LastEcho   *api.Time `json:"last_echo"` // null for the node that answers
	Version    string    `json:"version"`
}

// haStatus lists the nodes on the store. Those that serve are active, all of them.
func (d *Desk) haStatus(c *api.Call, _ *api.None) (*HAStatus, error) {
	nodes, err := d.Fleet.Nodes(c)
	if err != nil {
		return nil, err
	}
	s := &HAStatus{}
	for _, m := range nodes {
		n := Node{Hostname: m.Name, APIAddress: m.Address, Active: !m.Sealed && !m.Lost(c.Now), Version: m.Version}
		if m.ID != d.Fleet.ID {
			n.LastEcho = &api.Time{Time: m.Seen}
		}
		s.Nodes = append(s.Nodes, n)
	}
	return s, nil
}

// stepDown does nothing: a node that leads others would let another lead, and
// every node serves for itself.
func (d *Desk) stepDown(*api.Call, *api.None) (*api.None, error) { return nil, nil }
