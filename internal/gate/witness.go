package gate

import (
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/wrapping"
)

// witnessed has the request's entries written also to the audit devices of its namespace and
// of those above it. One in a namespace that does not exist is in the nearest that does: nobody
// learns the difference from a device that is dead, and who guesses names is seen.
func (p *passage) witnessed(e *audit.Entry) error {
	if p.house.Branches == nil {
		return nil
	}
	marks, err := p.house.Branches.Marks(&p.call)
	if err != nil || len(marks) == 0 {
		return err
	}
	ns := p.ns
	if ns == nil || ns.ID == mount.Nowhere {
		if ns, err = p.house.Namespaces.Nearest(&p.call, strings.Trim(p.r.Namespace, "/")+"/"+p.path); err != nil {
			return err
		}
	}
	if err := p.include(e, marks, ns); err != nil {
		return err
	}
	return p.includeWrapped(e, marks, ns)
}

// include has the entries written to the devices of a namespace and of those above it, as
// far as requests reach them, once each.
func (p *passage) include(e *audit.Entry, marks audit.Marks, ns *namespace.Namespace) error {
	line, err := p.house.Namespaces.Open(&p.call, ns)
	for i := 0; err == nil && i < len(line); i++ {
		err = p.house.Branches.Include(&p.call, e, marks, line[i].API())
	}
	return err
}

// includeWrapped has the entries of a request about a wrapping token of another namespace
// written to that one's devices, too: what is taken out was kept there.
func (p *passage) includeWrapped(e *audit.Entry, marks audit.Marks, ns *namespace.Namespace) error {
	var named api.Secret // none: the token that was presented
	if q, ok := p.req.(*wrapping.TokenRequest); ok {
		named = q.Token
	} else if p.lost != nil || p.call.Caller.Token.Empty() || !p.bearer() {
		return nil
	}
	id, err := p.house.Wrapping.Home(&p.call, named)
	if err != nil || id == "" || id == ns.ID {
		return err
	}
	of, err := p.house.Namespaces.ByID(&p.call, id)
	if err != nil {
		return err
	}
	return p.include(e, marks, of)
}

// mayRescue reports whether the caller may do without devices that take no entry: of the
// root namespace, who holds the root policy, and of another, who has sudo in it, since all
// namespaces above it have the entry.
func (p *passage) mayRescue(below string) bool {
	if below == "" {
		return p.decision.Root && p.ns.ID == namespace.RootID
	}
	return below == p.ns.ID && (p.decision.Root || p.decision.Sudo)
}
