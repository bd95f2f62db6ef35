package audit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// damagedType is the type that a listing shows of a device whose row is damaged.
const damagedType = "damaged"

// errDamaged is what is told of a device whose row cannot be read.
func (d *Devices) errDamaged(path string) *api.Error {
	home, way := cmp.Or(d.home, rootID+"/"), "with the root policy: strongroom audit disable "
	if d.home != "" {
		way = "with sudo: strongroom audit disable -namespace=" + strings.TrimSuffix(d.env.Namespace.Path, "/") + " "
	}
	return &api.Error{Kind: api.Damaged, Err: store.ErrCorrupt,
		Message: "its row " + home + devicePrefix + path + " is damaged, so that nobody knows what it is and which entries it must have",
		Hint:    "put the row back from a backup, or give the device up " + way + path}
}

// standIn takes the place of a device whose row is damaged. Whether entries may do
// without it is not known, so that each is owed to it and none is taken: requests are refused until the
// row is put back or the device disabled, which its holder of the root policy can do meanwhile.
func (d *Devices) standIn(e store.Entry) *opened {
	path := strings.TrimPrefix(e.Key, d.rowKey(""))
	err := d.errDamaged(path)
	sink := &Sink{path: path, home: d.env.Namespace.Path, format: format{key: NewKey()}, line: newLine(refused{err}), delivery: required}
	return &opened{&Declaration{Path: path, Type: damagedType, Description: err.Message}, e.Rev, sink}
}

// damaged reports whether the device's row could not be read.
func (o *opened) damaged() bool { return o.declaration.Key == nil }

// rows are the devices of all rows, by path. One whose row is damaged stays open as
// long as what is open is of that very row; else something stands in for it.
func (d *Devices) rows(ctx context.Context) (map[string]*opened, error) {
	whole, damaged, err := store.Sift(ctx, d.store, store.Prefix(d.rowKey("")))
	if err != nil {
		return nil, err
	}
	out := map[string]*opened{}
	for _, e := range whole {
		decl, err := DecodeDeclaration(e.Value)
		if err != nil || d.rowKey(decl.Path) != e.Key {
			damaged = append(damaged, e)
			continue
		}
		if o := d.opened(e, decl); o != nil {
			out[decl.Path] = o
		}
	}
	for _, e := range damaged {
		o := d.open[strings.TrimPrefix(e.Key, d.rowKey(""))]
		if o == nil || o.rev != e.Rev {
			o = d.standIn(e)
		}
		out[o.declaration.Path] = o
	}
	d.env.damaged(d.rowKey(""), damaged)
	return out, nil
}

// damaged tells of the rows with a prefix that cannot be read.
func (e *Env) damaged(prefix string, rows []store.Entry) {
	if e.Damaged != nil {
		e.Damaged(prefix, store.Keys(rows))
	}
}

// mend puts the row of a configured device that is damaged aside for a new one, with
// a new key: what the device is stands in the configuration. It reports whether it was damaged.
func (d *Devices) mend(ctx context.Context, path string) (bool, error) {
	i := slices.IndexFunc(d.configured, func(c *Declaration) bool { return c.Path == path })
	e, err := d.store.Get(ctx, d.rowKey(path))
	if err == nil && e.Exists() {
		decl, derr := DecodeDeclaration(e.Value)
		if derr != nil || decl.Path != path {
			err = store.ErrCorrupt // it opens, and is no declaration
		}
	}
	if !errors.Is(err, store.ErrCorrupt) {
		return false, err
	}
	_, err = store.Update(ctx, d.store, func(tx *store.Tx) error {
		tx.Require(d.rowKey(path), e.Rev)
		n := d.configured[i].keyed(nil)
		n.Complete()
		return d.put(tx, n)
	})
	return true, err
}
