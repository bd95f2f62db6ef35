package audit

import (
	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints of audit devices, relative to sys/, each about those of the
// namespace that the request is made in.
var Routes = []api.Route[*Tree]{
	api.Handle(api.Read, "audit", (*Tree).List, api.Sudo, api.Flat, api.Rescue),
	api.Handle(api.Write, "audit/{path...}", (*Tree).Enable, api.Sudo),
	api.Handle(api.Delete, "audit/{path...}", (*Tree).Disable, api.Sudo, api.Rescue),
	api.Handle(api.Write, "audit-hash/{path...}", (*Tree).Hash, api.Flat),
}

// at calls fn with the devices of a call's namespace.
func at[Resp any](t *Tree, c *api.Call, fn func(*Devices) (*Resp, error)) (*Resp, error) {
	if c.Namespace.ID == rootID {
		return fn(t.root)
	}
	b, err := t.acquire(c.Namespace)
	if err != nil {
		return nil, err
	}
	defer t.release(b)
	if err := b.devices.Reload(c); err != nil {
		return nil, err
	}
	return fn(b.devices)
}

// List answers with all audit devices of the namespace.
func (t *Tree) List(c *api.Call, r *api.None) (*DeviceTable, error) {
	return at(t, c, func(d *Devices) (*DeviceTable, error) { return d.List(c, r) })
}

// Enable declares a device, once an entry could be written to it. It has the entries of
// requests in the namespace and in those below it.
func (t *Tree) Enable(c *api.Call, r *EnableDevice) (*api.None, error) {
	return at(t, c, func(d *Devices) (*api.None, error) { return d.Enable(c, r) })
}

// Disable removes a device. One that is not there is no error; one that the
// configuration declares is removed there.
func (t *Tree) Disable(c *api.Call, r *DeviceName) (*api.None, error) {
	return at(t, c, func(d *Devices) (*api.None, error) { return d.Disable(c, r) })
}

// Hash answers with the hash that a device's entries show for a text.
func (t *Tree) Hash(c *api.Call, r *HashInput) (*HashOutput, error) {
	return at(t, c, func(d *Devices) (*HashOutput, error) { return d.Hash(c, r) })
}
