package operator

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/strongroom/strongroom/internal/api"
)

// Member is one member of the store, where nodes have its members in themselves.
type Member struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`      // As the configuration names it; empty: it has not started yet.
	URLs    []string `json:"peer_urls"` // Where other members reach it.
	Started bool     `json:"started"`   // It has taken part.
	Leader  bool     `json:"leader"`    // It orders what is written. Clients notice nothing of that.
	Answers bool     `json:"answers"`   // It answers now, when the node that is asked asks it.
}

// Members are the store's members, which come and go.
type Members interface {
	// List lists them.
	List(ctx context.Context) ([]Member, error)
	// Add makes room for one at a URL.
	Add(ctx context.Context, url string) error
	// Remove takes one out for ever.
	Remove(ctx context.Context, id uint64) error
}

// memberRoutes are the endpoints about members of the store.
func memberRoutes() []api.Route[*Desk] {
	return []api.Route[*Desk]{
		api.Handle(api.Read, "storage/members", (*Desk).members, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "storage/members", (*Desk).addMember, api.Sudo, api.RootOnly),
		api.Handle(api.Delete, "storage/members/{id}", (*Desk).removeMember, api.Sudo, api.RootOnly),
	}
}

// store is the store's members, or why there are none.
func (d *Desk) store() (Members, error) {
	if d.Members != nil {
		return d.Members, nil
	}
	return nil, &api.Error{Kind: api.Invalid, Message: "this server's storage, " + d.StorageType + ", has no members in its nodes",
		Hint: "nodes come and go by themselves: strongroom operator nodes"}
}

// StoreMembers are the members of the store.
type StoreMembers struct {
	Members []Member `json:"members"`
}

// members lists the members of the store that nodes have in themselves.
func (d *Desk) members(c *api.Call, _ *api.None) (*StoreMembers, error) {
	of, err := d.store()
	if err != nil {
		return nil, err
	}
	list, err := of.List(c)
	return &StoreMembers{list}, err
}

// AddMember makes room for a member.
type AddMember struct {
	URL string `json:"peer_url"` // Where the other members will reach it, as in its configuration: https://HOST:PORT.
}

// addMember makes room for a member of the store. A node with that URL in its
// configuration and an empty directory is started next.
func (d *Desk) addMember(c *api.Call, q *AddMember) (*api.None, error) {
	of, err := d.store()
	if err != nil {
		return nil, err
	}
	if q.URL == "" {
		return nil, api.Errorf(api.Invalid, "peer_url: must be given, such as https://HOST:PORT")
	}
	return nil, of.Add(c, q.URL)
}

// MemberID names a member.
type MemberID struct {
	ID string `path:"id"` // Id of the member.
}

// removeMember takes a member out of the store, for ever: what its node has in its
// directory is of no more use.
func (d *Desk) removeMember(c *api.Call, q *MemberID) (*api.None, error) {
	of, err := d.store()
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseUint(q.ID, 16, 64)
	if err != nil {
		return nil, api.Errorf(api.Invalid, "id: must be that of a member, as sys/storage/members lists it")
	}
	if err := of.Remove(c, id); err != nil {
		return nil, err
	}
	if err := d.Fleet.Depart(c, strconv.FormatUint(id, 16)); err != nil {
		c.Warn("its node stays listed for a day: that it has ended could not be written down")
		d.Log.Warn("that a node has ended could not be written down", slog.Any("error", err))
	}
	return nil, nil
}
