package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// devicePrefix is where the store keeps declarations, one row each.
const devicePrefix = "audit/"

// Devices keeps the declared audit devices in a store and has the broker write
// to them. Every node holds its own Devices over the same store.
type Devices struct {
	store      store.Store
	home       string                                               // before the keys of its rows: a namespace's id and a slash, or nothing
	mark       func(tx *store.Tx, path string, enabling bool) error // is told of each change, in its transaction; nil: nobody is
	env        Env
	configured []*Declaration
	broker     *Broker

	mu     sync.Mutex // held while the sinks change
	open   map[string]*opened
	closed bool
}

// opened is a device that is in use.
type opened struct {
	declaration *Declaration
	rev         store.Rev
	sink        *Sink
}

// NewDevices makes the devices of a node: those in the store, and those that
// its configuration declares. Nothing is opened before the first Reload.
func NewDevices(s store.Store, env Env, configured []*Declaration, broker *Broker) *Devices {
	return &Devices{store: s, env: env, configured: configured, broker: broker, open: map[string]*opened{}}
}

// Start writes down what the configuration declares, so that all nodes hash
// alike, and opens all devices. It needs an unsealed store, and no request may
// be served before it has returned.
func (d *Devices) Start(ctx context.Context) error {
	for _, c := range d.configured {
		if err := d.enrol(ctx, c); err != nil {
			return err
		}
	}
	return d.Reload(ctx)
}

// keyed is a configured declaration with a key.
func (d *Declaration) keyed(k *Key) *Declaration {
	c := *d
	c.Key, c.Configured = k, true
	c.unalias()
	return &c
}

// unalias replaces the other name of file_path.
func (d *Declaration) unalias() {
	path, ok := d.Options["path"]
	if _, both := d.Options["file_path"]; d.Type != "file" || !ok || both {
		return
	}
	d.Options = maps.Clone(d.Options)
	delete(d.Options, "path")
	d.Options["file_path"] = path
}

// Check reports what is wrong about how a device of a configuration is declared. It
// touches no file and asks no peer.
func (d *Declaration) Check(env Env) error {
	s, err := Open(d.keyed(NewKey()), env)
	if err != nil {
		return err
	}
	return s.line.close()
}

// CheckConfigured reports the first device of a configuration that could not be
// used: it is declared wrongly, or its file cannot be opened. It makes files that
// are not there, and does not wait for the peers of sockets.
func CheckConfigured(configured []*Declaration, env Env) error {
	for _, c := range configured {
		s, err := Open(c.keyed(NewKey()), env)
		if err == nil {
			err = errors.Join(s.line.out.ready(), s.line.close())
		}
		if err != nil {
			return fmt.Errorf("audit device %q of the configuration: %w%s", c.Path, err, c.remedy(err))
		}
	}
	return nil
}

// remedy is what an operator can do about a file that cannot be opened.
func (d *Declaration) remedy(err error) string {
	options := d.keyed(nil).Options
	dir := filepath.Dir(cmp.Or(options["file_path"], options["spool_path"]))
	switch {
	case dir == ".":
	case errors.Is(err, fs.ErrNotExist):
		return "; make its directory: mkdir -p " + dir
	case errors.Is(err, fs.ErrPermission):
		return "; let the server's user write to it: chown or chmod " + dir
	}
	return ""
}

// Directories are those of the files that a configuration declares.
func Directories(configured []*Declaration) []string {
	var dirs []string
	for _, c := range configured {
		if file := c.keyed(nil).Options["file_path"]; c.Type == "file" && filepath.IsAbs(file) {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return dirs
}

// Unready are the devices in use that could not be written to now, by path, each
// with the cause and what an operator can do: for the server's log, since it
// names files. It does not wait for the peers of sockets.
func (d *Devices) Unready() map[string]error {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]error{}
	for path, o := range d.open {
		if err := o.sink.line.out.ready(); err != nil {
			out[path] = fmt.Errorf("%w%s", err, o.declaration.remedy(err))
		}
	}
	return out
}

// enrol gives a configured device its row unless it has one.
func (d *Devices) enrol(ctx context.Context, c *Declaration) error {
	_, err := store.Update(ctx, d.store, func(tx *store.Tx) error {
		e, err := tx.Get(d.rowKey(c.Path))
		if errors.Is(err, store.ErrCorrupt) {
			return nil // Reload tells of it
		}
		if err != nil || e.Exists() {
			return err
		}
		n := c.keyed(nil)
		n.Complete()
		return d.put(tx, n)
	})
	return err
}

// rowKey is the key of a device's row; of no device, what all begin with.
func (d *Devices) rowKey(path string) string { return d.home + devicePrefix + path }

func (d *Devices) put(tx *store.Tx, decl *Declaration) error {
	b, err := decl.Encode()
	if err == nil {
		tx.Put(d.rowKey(decl.Path), b)
	}
	return err
}

// Reload makes the broker's sinks what the store says, as after a change
// through another node. Devices that have not changed keep their sink. A device
// that cannot be opened on this node stays, and fails each write. Nothing is opened any
// more after Close.
func (d *Devices) Reload(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errShut
	}
	next, err := d.rows(ctx)
	if err != nil {
		return err
	}
	headers, err := d.headers(ctx)
	if err != nil {
		return err
	}
	d.swap(next, headers)
	return nil
}

var errShut = &api.Error{Kind: api.Unavailable, Message: "the server is sealing"}

// opened is the device of a row, which declares it; nil when this node does not use it.
func (d *Devices) opened(e store.Entry, decl *Declaration) *opened {
	if o := d.open[decl.Path]; o != nil && o.rev == e.Rev && !o.damaged() {
		return o
	}
	i := slices.IndexFunc(d.configured, func(c *Declaration) bool { return c.Path == decl.Path })
	switch {
	case i >= 0: // also where the API has used the name before
		accessor := decl.Accessor
		decl = d.configured[i].keyed(decl.Key)
		decl.Accessor = accessor
	case decl.Configured:
		return nil
	}
	sink, err := Open(decl, d.env)
	if err != nil {
		sink = refuse(decl, d.env.Namespace.Path, err)
	}
	return &opened{decl, e.Rev, sink}
}

// swap puts sinks in use and closes those that no longer are. What goes wrong with one that
// is closed does not change what is in use.
func (d *Devices) swap(next map[string]*opened, headers map[string]bool) {
	sinks := make([]*Sink, 0, len(next))
	for _, path := range slices.Sorted(maps.Keys(next)) {
		sinks = append(sinks, next[path].sink)
	}
	d.broker.Replace(sinks, headers)
	old := d.open
	d.open = next
	for path, o := range old {
		if n := next[path]; n != nil && n.sink == o.sink {
			continue
		}
		if err := o.sink.line.closeWithin(disablePause); err != nil {
			d.env.log(path).Error("an audit device that is no longer in use could not be closed in order: its last entries may be lost", slog.Any("error", err))
		}
	}
}

// disablePause is how long the end of a device waits for entries that are being
// written: one that hangs must not keep its own removal waiting.
const disablePause = time.Second

// Close writes what is waiting and closes every sink, as at seal. The broker
// keeps them: a request that is still under way is refused, not left out.
func (d *Devices) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, o := range d.open {
		errs = append(errs, o.sink.line.close())
	}
	clear(d.open)
	d.closed = true
	return errors.Join(errs...)
}

// Device is how an audit device is listed.
type Device struct {
	Description string            `json:"description"` // What it is for.
	Local       bool              `json:"local"`       // Not replicated.
	Options     map[string]string `json:"options"`     // As they were given.
	Path        string            `json:"path"`        // With a trailing slash.
	Type        string            `json:"type"`        // File, stdout, socket or syslog.
}

// DeviceTable is all audit devices by path.
type DeviceTable map[string]Device

// List answers with all audit devices.
func (d *Devices) List(*api.Call, *api.None) (*DeviceTable, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := DeviceTable{}
	for path, o := range d.open {
		decl := o.declaration
		options := decl.Options
		if options == nil {
			options = map[string]string{}
		}
		out[path] = Device{decl.Description, decl.Local, options, path, decl.Type}
	}
	return &out, nil
}

// EnableDevice enables an audit device.
type EnableDevice struct {
	Path        api.Name          `path:"path"`        // Where to enable it.
	Type        string            `json:"type"`        // File, stdout, socket or syslog.
	Description string            `json:"description"` // What it is for.
	Options     map[string]string `json:"options"`     // Options of its type.
	Local       bool              `json:"local"`       // Do not replicate it.
}

// Enable declares a device, once an entry could be written to it.
func (d *Devices) Enable(c *api.Call, r *EnableDevice) (*api.None, error) {
	path, err := devicePath(r.Path)
	if err != nil {
		return nil, err
	}
	decl := &Declaration{Path: path, Type: r.Type, Description: r.Description, Options: r.Options, Local: r.Local}
	decl.unalias()
	decl.Complete()
	if err := d.bounded(decl); err != nil {
		return nil, err
	}
	if err := d.free(decl); err != nil {
		return nil, err
	}
	if err := d.try(c, decl); err != nil {
		return nil, err
	}
	if _, err := store.Update(c, d.store, func(tx *store.Tx) error {
		e, err := tx.Get(d.rowKey(path))
		if err != nil {
			return err
		}
		if e.Exists() {
			return errInUse
		}
		return errors.Join(d.put(tx, decl), d.marked(tx, path, true))
	}); err != nil {
		return nil, err
	}
	return nil, d.Reload(c)
}

var errInUse = &api.Error{Kind: api.Conflict, Message: "path already in use"}

// free refuses a path that is taken, a file that another device writes to, and
// what the other devices do not go with. Two devices that do not know of each
// other would tear each other's lines.
func (d *Devices) free(decl *Declaration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[decl.Path] != nil {
		return errInUse
	}
	files := decl.files()
	for _, o := range d.open {
		for used := range o.declaration.files() {
			if option, taken := files[used]; taken {
				return invalid(option, "is in use by another audit device", "")
			}
		}
		if o.sink.fallback && isTrue(decl.Options["fallback"]) {
			return invalid("fallback", "is asked for by another audit device", "there is one at most: disable the other first")
		}
	}
	if decl.Options["filter"] != "" && !d.complete() {
		return invalid("filter", "would leave entries that no device takes", "enable a device without a filter first, or one with fallback=true")
	}
	return nil
}

func isTrue(v string) bool {
	b, err := strconv.ParseBool(v)
	return err == nil && b
}

// complete reports whether some device takes what the filters of others do not.
func (d *Devices) complete() bool {
	for _, o := range d.open {
		if o.sink.filter == nil {
			return true
		}
	}
	return false
}

// files are the files that a device writes to, and the options that name them.
func (d *Declaration) files() map[string]string {
	out := map[string]string{}
	for _, option := range []string{"file_path", "spool_path"} {
		if p := d.Options[option]; p != "" && p != "stdout" {
			out[filepath.Clean(p)] = option
		}
	}
	return out
}

// try opens a new device for as long as it takes to write an entry to it. The
// entry goes past the spool, so that a peer that is not there is noticed: with a
// spool it is waited for, and whoever enables the device is warned.
func (d *Devices) try(c *api.Call, decl *Declaration) error {
	s, err := Open(decl, d.env)
	if err != nil {
		return err
	}
	spool, waits := s.line.out.(*spooled)
	if waits {
		s.line.out = spool.peer
		err = errors.Join(spool.ready(), spool.close())
	}
	if err == nil {
		err = s.probe(c)
		if err != nil && waits && !distrusted(err) {
			c.Warn("the peer takes no entries now (" + cause(err) + "): they wait in the spool, and once it is full count as not written")
			err = nil
		}
	}
	if err := errors.Join(err, s.line.close()); err != nil {
		return &api.Error{Kind: api.Invalid, Message: "the audit device cannot be written: " + cause(err), Err: err}
	}
	return nil
}

// devicePath is a device's name in its one spelling.
func devicePath(name api.Name) (string, error) {
	p := strings.Trim(string(name), "/")
	for seg := range strings.SplitSeq(p, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return "", &api.Error{Kind: api.Invalid, Message: "path: is not a name for an audit device"}
		}
	}
	return p + "/", nil
}

// DeviceName names an audit device.
type DeviceName struct {
	Path api.Name `path:"path"` // Where it is enabled.
}

// Disable removes a device. One that is not there is no error; one that the
// configuration declares is removed there.
func (d *Devices) Disable(c *api.Call, r *DeviceName) (*api.None, error) {
	path, err := devicePath(r.Path)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(d.configured, func(c *Declaration) bool { return c.Path == path }) {
		mended, err := d.mend(c, path)
		if err == nil && !mended {
			err = &api.Error{Kind: api.Invalid, Message: "the audit device is declared in the configuration", Hint: "remove it there"}
		}
		if err != nil {
			return nil, err
		}
		c.Warn("the device's row was damaged and was made anew, with a new key for hashes; the device stays, as the configuration declares it")
		return nil, d.Reload(c)
	}
	if _, err := store.Update(c, d.store, func(tx *store.Tx) error {
		tx.Delete(d.rowKey(path))
		return d.marked(tx, path, false)
	}); err != nil {
		return nil, err
	}
	return nil, d.Reload(c)
}

// HashInput is a text to hash.
type HashInput struct {
	Path  api.Name   `path:"path"`                 // The audit device whose key is used.
	Input api.Secret `json:"input" api:"required"` // The text to hash.
}

// HashOutput is a text's hash.
type HashOutput struct {
	Hash string `json:"hash"` // As entries of the device show the text.
}

// Hash answers with the hash that a device's entries show for a text.
func (d *Devices) Hash(_ *api.Call, r *HashInput) (*HashOutput, error) {
	path, err := devicePath(r.Path)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	o := d.open[path]
	d.mu.Unlock()
	switch {
	case o == nil:
		return nil, &api.Error{Kind: api.Invalid, Message: "unknown audit device"}
	case o.damaged():
		return nil, d.errDamaged(path)
	}
	return &HashOutput{o.declaration.Key.Hash([]byte(r.Input.Reveal()))}, nil
}
