package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/store/etcd"
)

// lookEvery is how often a member that waits for a majority looks who is there.
const lookEvery = 2 * time.Second

// waits tells what the member waits for, in words for who runs the nodes.
func (c Config) waits(reason string) {
	if c.Waits != nil {
		c.Waits(reason)
	}
}

// founding tells of members that a new cluster lacks. Those that have not started yet
// are no fault at first.
func (c Config) founding(told int, missing []string, reasons map[string]error) {
	names := strings.Join(c.names(missing), ", ")
	reason := "waiting for members " + names + ": a new cluster begins when all of its members have started"
	level, unlike := slog.LevelInfo, []string(nil)
	for _, u := range missing {
		if errors.Is(reasons[u], errOthers) {
			unlike = append(unlike, u)
		}
	}
	if len(unlike) > 0 {
		level = slog.LevelWarn
		reason += "; the configuration of " + strings.Join(c.names(unlike), ", ") + " lists other members than this one's: correct one of them"
	}
	c.waits(reason)
	if told > 0 {
		level = slog.LevelWarn
	}
	if told%tellEvery == 0 {
		c.Logger.Log(context.Background(), level, "etcd: "+reason, "reasons", c.reasons(reasons))
	}
}

// names are the names of members, as the configuration has them, by their URLs.
func (c Config) names(urls []string) (out []string) {
	for _, p := range c.Members {
		if slices.Contains(urls, p.URL) {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return out
}

// reasons are why members were not heard of, each with its name and URL.
func (c Config) reasons(by map[string]error) (out []string) {
	for _, p := range c.Members {
		if err := by[p.URL]; err != nil {
			out = append(out, p.Name+" at "+p.URL+": "+err.Error())
		}
	}
	slices.Sort(out)
	return out
}

// unusable is an error of starting etcd, with what to do where a member's data are damaged. Of most damage etcd ends the process:
// see etcd.Remedy.
func (c Config) unusable(err error) error {
	if !strings.Contains(err.Error(), "crc mismatch") {
		return err
	}
	return fmt.Errorf("the data in %s cannot be used: %w; %s", c.Dir, err, etcd.Remedy)
}

// asKnown is the configuration with the members that the cluster had when this one last took part: those it waits for. moved
// is the URL at which they know it, where that is another.
func (m *Member) asKnown() (c Config, moved string) {
	c = m.cfg
	c.Members = []Peer{m.cfg.self()}
	for _, i := range m.local() {
		switch {
		case len(i.URLs) == 0:
		case i.ID != uint64(m.etcd.Server.MemberID()):
			c.Members = append(c.Members, Peer{i.Name, i.URLs[0]})
		case !slices.Contains(i.URLs, m.cfg.self().URL):
			moved = i.URLs[0]
		}
	}
	return c, moved
}

// majority tells every other second, until stopped, who is not there of the members
// of a cluster that cannot write. One that is alone waits for nobody.
func (m *Member) majority(ctx context.Context) (stop func(), err error) {
	c := m.cfg
	if len(c.Members) == 1 {
		return func() {}, nil
	}
	client, err := c.peerClient()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.CloseIdleConnections()
		for told := 0; pause(ctx, lookEvery) == nil; told++ {
			c, moved := m.asKnown()
			_, reasons := c.askAll(ctx, client)
			if ctx.Err() == nil {
				c.lacking(told, reasons, moved)
			}
		}
	}()
	return func() { cancel(); <-done }, nil
}

// lacking tells of members that do not answer, or that the others have yet to agree. moved is the URL at which they know
// this member, where it has another now; empty: it has not.
func (c Config) lacking(told int, reasons map[string]error, moved string) {
	reason := "waiting for the members of etcd to choose a leader"
	if 2*(len(c.Members)-len(reasons)) <= len(c.Members) {
		var away []string
		for u := range reasons {
			away = append(away, u)
		}
		reason = "waiting for members " + strings.Join(c.names(away), ", ") + ": more than half of all must be there for anything to be written"
	}
	if moved != "" {
		reason += "; the cluster knows this member at " + moved + ", and its configuration has " + c.self().URL +
			": it tells the others once a majority is where the cluster knows it, so addresses change one member after another"
	}
	c.waits(reason)
	if told%(tellEvery/10) == 0 {
		c.Logger.Warn("etcd: "+reason, "reasons", c.reasons(reasons))
	}
}
