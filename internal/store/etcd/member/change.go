package member

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// How long a change of members may take.
const (
	// settle is how long etcd may need after a change of members before it takes
	// another: it wants to have been connected to all of them for five seconds.
	settle = 15 * time.Second
	// attemptTime bounds one attempt: a proposal that was sent to a leader that has
	// died is lost, and nobody says so.
	attemptTime = 3 * time.Second
)

// Refusal says why a change of members was refused, who is away, and what to do next.
type Refusal struct {
	What string // what was refused and why
	Hint string // the next step
	Err  error  // etcd's own error
}

// Error says what was refused and why.
func (r *Refusal) Error() string { return r.What }

// Unwrap returns etcd's own error.
func (r *Refusal) Unwrap() error { return r.Err }

// change is a change of members that is under way.
type change struct {
	m    *Member
	what string                      // in words: adding or removing whom
	do   func(context.Context) error // proposes it
	// done reports whether the member, as it knows the cluster, has the change already.
	done func() bool
	// answers are etcd's errors that say so of an attempt whose outcome was unknown.
	answers error
	// need is how many of the members that stay must be there, and stay whether a member does.
	need int
	stay func(Info) bool
}

// Add makes room for a member at a URL. It is part of the cluster from then on, and
// is started next, with an empty directory and with the URL in its configuration.
func (m *Member) Add(ctx context.Context, url string) error {
	if _, err := peerURL(url, m.cfg.Plain); err != nil {
		return err
	}
	known := func(i Info) bool { return slices.Contains(i.URLs, url) }
	if slices.ContainsFunc(m.local(), known) {
		return &Refusal{What: "adding a member: there is one at " + url + " already", Err: rpctypes.ErrPeerURLExist,
			Hint: "start its node; to have it begin anew, remove it first: strongroom operator storage remove " + m.idAt(url)}
	}
	return m.change(ctx, change{
		what: "adding the member at " + url, answers: rpctypes.ErrPeerURLExist, need: (len(m.local())+1)/2 + 1,
		do:   func(ctx context.Context) error { _, err := m.client.MemberAdd(ctx, []string{url}); return err },
		done: func() bool { return slices.ContainsFunc(m.local(), known) },
		stay: func(Info) bool { return true },
	})
}

// Remove takes a member out of the cluster, for ever: what it has in its directory
// is of no more use.
func (m *Member) Remove(ctx context.Context, id uint64) error {
	is := func(i Info) bool { return i.ID == id }
	before := m.local()
	if !slices.ContainsFunc(before, is) {
		return &Refusal{What: "removing a member: there is none with the id " + strconv.FormatUint(id, 16), Err: rpctypes.ErrMemberNotFound,
			Hint: "the ids are those of: strongroom operator storage members"}
	}
	if len(before) == 1 {
		return &Refusal{What: "removing a member: it is the last one, and has the data", Err: rpctypes.ErrMemberNotEnoughStarted,
			Hint: "add another and start its node first: strongroom operator storage add URL"}
	}
	return m.change(ctx, change{
		what: "removing the member " + strconv.FormatUint(id, 16), answers: rpctypes.ErrMemberNotFound, need: (len(before)-1)/2 + 1,
		do:   func(ctx context.Context) error { _, err := m.client.MemberRemove(ctx, id); return err },
		done: func() bool { return !slices.ContainsFunc(m.local(), is) },
		stay: func(i Info) bool { return i.ID != id },
	})
}

// change makes attempts at a change until etcd takes it, refuses it for a reason that
// will not pass by itself, or settle is over.
func (m *Member) change(ctx context.Context, c change) error {
	c.m = m
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for unknown := false; ; {
		err := c.attempt(ctx)
		switch {
		case err == nil, unknown && is(err, c.answers):
			return nil
		case !passing(err), is(err, rpctypes.ErrUnhealthy) && c.hopeless(ctx):
			return c.refused(caller, err)
		}
		unknown = unknown || !is(err, rpctypes.ErrUnhealthy)
		over := pause(ctx, askPause) != nil
		if unknown && c.done() {
			return nil
		}
		if over {
			return c.refused(caller, err)
		}
	}
}

// attempt proposes the change once.
func (c *change) attempt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	return c.do(ctx)
}

// is reports whether err is one of etcd's.
func is(err, target error) bool {
	return err != nil && errors.Is(rpctypes.Error(err), target)
}

// passing reports whether an error may be gone at the next attempt: members have not been
// connected for long enough, or a leader is about to be chosen.
func passing(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || slices.ContainsFunc([]error{
		rpctypes.ErrUnhealthy, rpctypes.ErrNoLeader, rpctypes.ErrNotLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrTimeout,
		rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost,
	}, func(target error) bool { return is(err, target) })
}

// local are the members as this one knows them, which needs no leader.
func (m *Member) local() (out []Info) {
	for _, i := range m.etcd.Server.Cluster().Members() {
		out = append(out, Info{ID: uint64(i.ID), Name: i.Name, URLs: i.PeerURLs, Started: len(i.ClientURLs) > 0})
	}
	return out
}

// idAt is the id of the member at a URL.
func (m *Member) idAt(url string) string {
	for _, i := range m.local() {
		if slices.Contains(i.URLs, url) {
			return strconv.FormatUint(i.ID, 16)
		}
	}
	return "ID"
}

// hopeless reports whether fewer members are there than the change needs, which only people
// can mend. A member that is to be removed and is not there itself is taken out in any case.
func (c *change) hopeless(ctx context.Context) bool {
	all := c.m.local()
	away := c.m.away(ctx, all)
	there, leaves := 0, false
	for _, i := range all {
		is := func(a Info) bool { return a.ID == i.ID }
		switch {
		case !c.stay(i):
			leaves = slices.ContainsFunc(away, is)
		case !slices.ContainsFunc(away, is):
			there++
		}
	}
	return there < c.need && !leaves
}

// away are the members, besides this one, that do not answer on any of their URLs.
func (m *Member) away(ctx context.Context, all []Info) (out []Info) {
	client, err := m.cfg.peerClient()
	if err != nil {
		return nil
	}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, i := range all {
		if i.ID == uint64(m.etcd.Server.MemberID()) {
			continue
		}
		wg.Go(func() {
			if answers(ctx, client, i) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, i)
		})
	}
	wg.Wait()
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(called(a), called(b)) })
	return out
}

// answers reports whether a member does on one of its URLs.
func answers(ctx context.Context, client *http.Client, i Info) bool {
	return slices.ContainsFunc(i.URLs, func(u string) bool {
		status, _, err := get(ctx, client, u+membersPath)
		return err == nil && status == http.StatusOK
	})
}

// called is how a member is told of.
func called(i Info) string {
	text := i.Name + " at " + strings.Join(i.URLs, ", ")
	if i.Name == "" {
		text = "the one at " + strings.Join(i.URLs, ", ") + " that has not started yet"
	}
	return text + " (" + strconv.FormatUint(i.ID, 16) + ")"
}

// refused tells why a change was refused, who is away and what to do. Its caller may have
// gone meanwhile.
func (c *change) refused(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	away := slices.DeleteFunc(c.m.away(ctx, c.m.local()), func(i Info) bool { return !c.stay(i) })
	r := &Refusal{What: fmt.Sprintf("%s: %v", c.what, rpctypes.Error(err)), Err: err}
	if errors.Is(err, context.DeadlineExceeded) {
		r.What = c.what + ": no leader of the members took it within " + settle.String() + ", and it may still be done"
	}
	if len(away) == 0 {
		r.Hint = "all other members are there: look whether it is done (strongroom operator storage members), and else give the command again in a few seconds"
		return r
	}
	var names []string
	for _, i := range away {
		names = append(names, called(i))
	}
	r.What += "; away: " + strings.Join(names, "; ")
	r.Hint = "start the nodes of those that are away, then give the command again; one that is lost for good is taken out first: strongroom operator storage remove " + strconv.FormatUint(away[0].ID, 16)
	return r
}
