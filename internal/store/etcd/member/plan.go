package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

const (
	newPath     = "/strongroom/new" // answered by a member that has no data yet
	membersPath = "/members"        // answered by a member of a cluster
	askTimeout  = 2 * time.Second
	askPause    = 200 * time.Millisecond
	tellEvery   = 50      // rounds of asking a new cluster's members
	maxAnswer   = 1 << 20 // bytes
)

// errGone says what to do about a member that took part and has lost its data.
var errGone = errors.New("the cluster knows this member, and its data directory is empty: " +
	"on another node remove it and add it anew (strongroom operator storage members, storage remove ID, storage add URL), and start it again")

// plan learns how to start. A member without data asks the others, until one of them
// is part of a cluster or all of them have said that they are new too.
func (c Config) plan(ctx context.Context) (plan, error) {
	had, err := c.hasData()
	if err != nil || had || len(c.Members) == 1 {
		return c.asConfigured(), err
	}
	client, err := c.peerClient()
	if err != nil {
		return plan{}, err
	}
	defer client.CloseIdleConnections()
	stop, err := c.announce()
	if err != nil {
		return plan{}, err
	}
	defer stop()
	for told := 0; ; told++ {
		answers, reasons := c.askAll(ctx, client)
		p, missing, err := c.decide(answers)
		if err != nil || len(missing) == 0 {
			return p, err
		}
		c.founding(told, missing, reasons)
		if err := pause(ctx, askPause); err != nil {
			return plan{}, fmt.Errorf("waiting for %s: %w", strings.Join(c.names(missing), ", "), err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer is what another member says of itself.
type answer struct {
	isNew   bool
	members []known // of the cluster that it is part of
}

// known is a member as the others list it.
type known struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	Name       string   `json:"name"`
	ClientURLs []string `json:"clientURLs"` // none: it has never taken part
}

// decide makes a plan of the answers by URL, or says who is missing.
func (c Config) decide(answers map[string]answer) (p plan, missing []string, err error) {
	var lists [][]known
	for _, u := range c.others() {
		switch a := answers[u]; {
		case len(a.members) > 0:
			lists = append(lists, a.members)
		case !a.isNew:
			missing = append(missing, u)
		}
	}
	if len(lists) > 0 {
		p, err = c.join(lists)
		return p, nil, err
	}
	return c.asConfigured(), missing, nil
}

// join is how to become part of a cluster, by what its members list.
func (c Config) join(lists [][]known) (plan, error) {
	var list []known
	var me known
	for _, l := range lists {
		i := slices.IndexFunc(l, func(k known) bool { return slices.Contains(k.PeerURLs, c.self().URL) })
		if i < 0 {
			continue
		}
		list, me = l, l[i]
		if len(me.ClientURLs) > 0 {
			return plan{}, errGone
		}
	}
	switch {
	case list == nil:
		return plan{}, fmt.Errorf("the cluster does not know %s: add it as a member first", c.self().URL)
	case me.Name == c.Name && c.sameAs(list):
		return c.asConfigured(), nil // the others have begun as new a moment ago
	}
	return plan{embed.ClusterStateFlagExisting, c.listed(list)}, nil
}

// sameAs reports whether the cluster is the one that the configuration lists.
func (c Config) sameAs(list []known) bool {
	return len(list) == len(c.Members) && !slices.ContainsFunc(c.Members, func(p Peer) bool {
		return !slices.ContainsFunc(list, func(k known) bool {
			return k.Name == p.Name && slices.Equal(k.PeerURLs, []string{p.URL})
		})
	})
}

// listed is the cluster as its members list it, with this member's own name. One that
// has not started has no name yet.
func (c Config) listed(list []known) string {
	var out []string
	for _, k := range list {
		name := k.Name
		switch {
		case slices.Contains(k.PeerURLs, c.self().URL):
			name = c.Name
		case name == "":
			name = fmt.Sprintf("unnamed-%x", k.ID)
		}
		for _, u := range k.PeerURLs {
			out = append(out, name+"="+u)
		}
	}
	return strings.Join(out, ",")
}

// list is the members that the configuration lists, the same for all whose
// configuration lists the same.
func (c Config) list() string {
	var all []string
	for _, p := range c.Members {
		all = append(all, p.Name+"="+p.URL)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// askAll asks all others at once, by their URLs. Who does not answer is left out, with
// the reason.
func (c Config) askAll(ctx context.Context, client *http.Client) (answers map[string]answer, reasons map[string]error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers, reasons = map[string]answer{}, map[string]error{}
	for _, u := range c.others() {
		wg.Go(func() {
			a, err := c.ask(ctx, client, u)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				reasons[u] = err
				return
			}
			answers[u] = a
		})
	}
	wg.Wait()
	return answers, reasons
}

// errOthers is why a member that is as new is not founded a cluster with.
var errOthers = errors.New("its configuration lists other members than this one's: correct one of them, and start it again")

func (c Config) ask(ctx context.Context, client *http.Client, u string) (answer, error) {
	status, list, err := get(ctx, client, u+newPath)
	switch {
	case err != nil:
		return answer{}, err
	case status == http.StatusOK && string(list) != c.list():
		return answer{}, errOthers
	case status == http.StatusOK:
		return answer{isNew: true}, nil
	}
	status, body, err := get(ctx, client, u+membersPath)
	if err != nil || status != http.StatusOK {
		return answer{}, errors.Join(err, fmt.Errorf("status %d", status))
	}
	var a answer
	return a, json.Unmarshal(body, &a.members)
}

func get(ctx context.Context, client *http.Client, u string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err // the URL is told beside it
	}
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// peerClient asks other members, as a member.
func (c Config) peerClient() (*http.Client, error) {
	t, err := transport.NewTransport(c.tls(), askTimeout)
	if err != nil {
		return nil, fmt.Errorf("the certificate or the authority of members: %w", err)
	}
	return &http.Client{
		Transport: t, Timeout: askTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// announce tells the others on this member's URL that it is new, until stopped.
func (c Config) announce() (stop func(), err error) {
	u, err := url.Parse(c.Listen)
	if err != nil {
		return nil, err
	}
	info := c.tls()
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		return nil, fmt.Errorf("listening for other members: %w", err)
	}
	if !info.Empty() {
		if l, err = transport.NewTLSListener(l, &info); err != nil {
			return nil, fmt.Errorf("listening for other members: %w", err)
		}
	}
	mux := http.NewServeMux()
	list := []byte(c.list())
	mux.HandleFunc("GET "+newPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Write(list) // who asks and is gone asks again
	})
	s := &http.Server{Handler: mux, ReadTimeout: askTimeout, WriteTimeout: askTimeout}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.Logger.Warn("etcd: this member cannot be asked", "error", err)
		}
	}()
	return func() {
		if err := s.Close(); err != nil {
			c.Logger.Warn("etcd: closing where this member is asked", "error", err)
		}
		<-done
	}, nil
}
