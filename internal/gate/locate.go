package gate

import (
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// locate finds namespace, mount and endpoint. What is wrong with the path's form
// is told at once; what does not exist only to those who may ask.
func (p *passage) locate() error {
	path, err := policy.Canonical(p.r.Path)
	if err != nil {
		return &api.Error{Kind: api.Invalid, Message: "the path is not in canonical form", Hint: reasonOf(err), Err: err}
	}
	p.path = path
	ns, err := p.house.Namespaces.Find(&p.call, p.house.Namespaces.Root(), p.r.Namespace)
	switch {
	case err == nil:
		err = p.descend(ns)
	case api.KindOf(err) == api.NotFound, errors.Is(err, store.ErrCorrupt):
		p.lost, err = notFound(err), nil // the namespace stays unknown: nowhere decides who is told
	}
	if err == nil && p.lost != nil && p.mount == nil {
		err = p.imagine()
	}
	if err != nil || p.ns == nil {
		return err
	}
	p.resp.Namespace = p.ns.Path
	p.call.Namespace = p.ns.API()
	return nil
}

func reasonOf(err error) string {
	var pe *policy.PathError
	if errors.As(err, &pe) {
		return pe.Error()
	}
	return ""
}

// imagine lets what needs no token answer in a namespace that does not exist as
// it does in an empty one, so that nobody learns the difference by asking. For
// anything else, all stays as it was.
func (p *passage) imagine() error {
	i := strings.Index("/"+p.path, "/sys/")
	if i < 0 {
		return nil
	}
	was, path, base := *p, p.path, strings.Trim(p.r.Namespace, "/")+"/"+p.path[:i]
	if p.ns != nil {
		base = p.ns.Path + p.path[:i]
	}
	p.lost = nil
	ns := &namespace.Namespace{ID: mount.Nowhere, Path: strings.TrimPrefix(base, "/")}
	if _, err := p.resolve(ns, path[i:]); err != nil {
		return err
	}
	if p.public() {
		p.missing = was.lost
		return nil
	}
	p.ns, p.mount, p.match, p.lost, p.path = was.ns, was.mount, was.match, was.lost, was.path
	p.call.Mount, p.call.Store, p.call.Path = was.call.Mount, was.call.Store, was.call.Path
	p.resp.MountType, p.resp.Flags = "", 0
	return nil
}

// descend finds the mount, in the namespace itself or, when it has none for the
// path, in the namespaces that the path begins with.
func (p *passage) descend(ns *namespace.Namespace) error {
	found, err := p.resolve(ns, p.path)
	if err != nil || found {
		return err
	}
	deeper, rest, err := p.house.Namespaces.Descend(&p.call, ns, p.path)
	if errors.Is(err, store.ErrCorrupt) {
		p.ns, p.lost = ns, notFound(err)
		return nil
	}
	if err != nil {
		return err
	}
	if deeper.ID == ns.ID {
		p.ns, p.lost = ns, noRoute()
		return nil
	}
	whole := p.path
	p.path = rest
	found, err = p.resolve(deeper, rest)
	switch {
	case err == nil && !found:
		p.ns, p.lost = deeper, noRoute()
	case p.ns == nil: // it is sealed, and who may ask is judged by the whole path
		p.path = whole
	}
	return err
}

// notFound is why a namespace was not: there is none, or its row is damaged, which is
// told as little to those who may not ask.
func notFound(err error) error {
	if told := storeTrouble(err); told != nil {
		return told
	}
	return err
}

func noRoute() *api.Error {
	return &api.Error{Kind: api.NotFound, Message: "no handler for route. route entry not found.", Hint: "list what is mounted with: strongroom secrets list"}
}

func (p *passage) resolve(ns *namespace.Namespace, path string) (bool, error) {
	sealed, locked, err := p.house.Namespaces.Closed(&p.call, ns)
	if err != nil {
		return false, err
	}
	if p.locked = locked; sealed != nil {
		p.lost = namespace.ErrSealed(sealed) // the namespace stays unknown: nowhere decides who is told
		return true, nil
	}
	table, err := p.house.Mounts.Table(&p.call, ns.ID)
	if err != nil {
		return false, err
	}
	entry, rest, ok := table.Resolve(path)
	if !ok {
		return false, nil
	}
	p.ns, p.mount = ns, entry
	p.call.Mount, p.resp.MountType = entry.API(), entry.Type
	if p.lost = entry.Refusal(); p.lost != nil {
		return true, nil // with no store: where its data lies is not known
	}
	p.call.Store = store.Sub(p.house.Data, entry.Prefix(ns.ID))
	if entry.Router() == nil {
		p.lost = &api.Error{Kind: api.Unsupported, Message: "this version has no engine of the mount's type"}
		return true, nil
	}
	p.match, p.lost = p.find(entry.Router(), rest)
	if p.lost == nil {
		p.path, p.call.Path = entry.Path+p.match.Path, p.match.Path
		p.resp.Flags = p.match.Endpoint.Flags
		if p.match.Endpoint.Has(api.RootOnly) && ns.ID != namespace.RootID {
			p.lost = &api.Error{Kind: api.Invalid, Message: "operation unavailable in namespaces", Hint: "ask in the root namespace"}
		}
	}
	return true, nil
}

// find is where the path lands. Help is about all operations on a path, so that
// it finds a path that has any which is documented; about a mount's own path it
// is about the mount.
func (p *passage) find(router *api.Router, rest string) (api.Match, error) {
	if p.r.Help && rest == "" {
		return api.Match{Endpoint: api.Landing()}, nil
	}
	m, err := router.Match(p.r.Op, rest)
	for op := api.Read; p.r.Help && op <= api.Scan && undocumented(&m, err); op++ {
		m, err = router.Match(op, rest)
	}
	return m, err
}

func undocumented(m *api.Match, err error) bool {
	return api.KindOf(err) == api.Unsupported || err == nil && m.Endpoint.Has(api.Hidden)
}

// takes are the operations that a path has which was refused as having no such one. One that
// the engine itself has refused is none of them.
func (p *passage) takes(e *api.Error) []api.Op {
	if e.Kind != api.Unsupported || p.mount == nil || p.mount.Router() == nil {
		return nil
	}
	ops := p.mount.Router().Takes(p.match.Path)
	if p.mount.Path == "sys/" {
		ops = append(ops, p.gate.sealed.Takes(p.match.Path)...)
	}
	return slices.DeleteFunc(ops, func(op api.Op) bool { return op == p.r.Op })
}
