package chaos

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var damages = flag.Int("damages", 8, "how many rows are damaged or exchanged in each store that an outsider can write to")

// row is an entry as the engine keeps it.
type row struct {
	key   string
	value []byte
}

// editor reads and writes rows behind the backs of the nodes. A row that is not there any more is not written: it reports whether it was.
type editor interface {
	rows(t testing.TB) []row
	write(t testing.TB, r row) bool
}

type postgresEditor struct{ f *fleet }

func (e postgresEditor) rows(t testing.TB) []row {
	t.Helper()
	out, err := e.f.pg.SQL("select encode(front,'hex') || ' ' || encode(value,'hex') from strongroom.entries order by front")
	must(t, err)
	var all []row
	for line := range strings.SplitSeq(out, "\n") {
		key, value, _ := strings.Cut(line, " ")
		k, errK := hex.DecodeString(key)
		v, errV := hex.DecodeString(value)
		must(t, errors.Join(errK, errV))
		all = append(all, row{string(k), v})
	}
	return all
}

func (e postgresEditor) write(t testing.TB, r row) bool {
	t.Helper()
	out, err := e.f.pg.SQL(fmt.Sprintf(`update strongroom.entries set value = '\x%x' where front = '\x%x'`, r.value, r.key))
	must(t, err)
	if out != "UPDATE 1" && out != "UPDATE 0" {
		t.Fatalf("changing a row: %s", out)
	}
	return out == "UPDATE 1"
}

type etcdEditor struct{ client *clientv3.Client }

// etcdPrefix is where the entries lie in an etcd.
const etcdPrefix = "strongroom/d/"

func (e etcdEditor) rows(t testing.TB) []row {
	t.Helper()
	got, err := e.client.Get(t.Context(), etcdPrefix, clientv3.WithPrefix())
	must(t, err)
	var all []row
	for _, kv := range got.Kvs {
		all = append(all, row{strings.TrimPrefix(string(kv.Key), etcdPrefix), kv.Value})
	}
	return all
}

func (e etcdEditor) write(t testing.TB, r row) bool {
	t.Helper()
	key := etcdPrefix + r.key
	done, err := e.client.Txn(t.Context()).If(clientv3.Compare(clientv3.CreateRevision(key), ">", 0)).Then(clientv3.OpPut(key, string(r.value))).Commit()
	must(t, err)
	return done.Succeeded
}

// identifiers are the parts of a key that differ within one kind of row.
var identifiers = regexp.MustCompile(`[0-9a-f]{16,}|[0-9a-f-]{36}|[0-9]{10,}|[A-Z2-7]{26}`)

// kindOf is a row's kind. Of secrets and policies the names differ too, and of what else there is two of.
func kindOf(key string) string {
	kind := identifiers.ReplaceAllString(key, "*")
	for _, named := range []string{"d/root/m/*/m/", "d/root/m/*/*/", "d/root/m/*/v/", "d/root/policy/acl/", "d/root/mount/at/", "d/root/m/*/lockout/", "d/root/lease/id/", "d/root/quota/room/*/part/",
		"d/root/oidc/client/", "d/root/oidc/client-id/", "d/root/oidc/key/", "d/root/oidc/sign/", "d/root/oidc/assignment/"} {
		if strings.HasPrefix(kind, named) {
			return named + "…"
		}
	}
	if strings.HasPrefix(kind, "d/root/m/*/") && !strings.Contains(strings.TrimPrefix(kind, "d/root/m/*/"), "/") {
		return "d/root/m/*/…"
	}
	return kind
}

// probe is something that is known of the store: whether the node says so, says nothing (an error), or lies.
type probe struct {
	name  string
	rests []string // parts of the keys of rows without which it need not be answered; of mounts, and of the kinds that are set apart
	lifts string   // part of the key of a row that limits something, and does not while it is damaged; empty: there is none
	ask   func(c *client) (right bool, lie string)
}

// without reports whether rows are among those without which it need not be answered.
func (p *probe) without(damaged []row) bool {
	return slices.ContainsFunc(damaged, func(r row) bool {
		return slices.ContainsFunc(p.rests, func(part string) bool { return strings.Contains(r.key, part) })
	})
}

// at is the part of the key of a mount's row.
func at(mount string) string { return "mount/at/" + mount }

// furnished fills a store and returns what is then known of it.
func (f *fleet) furnished(t *testing.T) []probe {
	t.Helper()
	c := f.client(0, f.root)
	operators := make([]string, 3) // two may be damaged
	for i := range operators {
		var err error
		operators[i], err = c.issue(`,"policies":["root"]`)
		must(t, err)
	}
	var all []probe
	add := func(name, path string, tokens []string, want int, within ...string) {
		mount, _, _ := strings.Cut(path, "/")
		all = append(all, probe{name: name, rests: []string{at(mount + "/")}, ask: func(c *client) (bool, string) { return c.knows(path, tokens, want, within...) }})
	}
	must(t, c.call("PUT", "sys/policies/acl/keeper", `{"policy":"path \"cubbyhole/*\" { capabilities = [\"create\", \"read\", \"update\"] }"}`, nil))
	for i := range 3 {
		n := 100 + i
		must(t, c.call("POST", fmt.Sprintf("chaos/data/s%d", i), fmt.Sprintf(`{"data":{"n":%d}}`, n), nil))
		must(t, c.call("POST", fmt.Sprintf("plain/s%d", i), fmt.Sprintf(`{"n":%d}`, n), nil))
		add("versioned", fmt.Sprintf("chaos/data/s%d", i), operators, n, "data", "data", "n")
		add("plain", fmt.Sprintf("plain/s%d", i), operators, n, "data", "n")
		token, err := c.issue(fmt.Sprintf(`,"policies":["keeper"],"meta":{"n":"%d"}`, n))
		must(t, err)
		must(t, newHolder(c, token).call("PUT", "cubbyhole/s", fmt.Sprintf(`{"n":%d}`, n), nil))
		add("cubbyhole", "cubbyhole/s", []string{token}, n, "data", "n")
	}
	return slices.Concat(all, []probe{f.hidden(t, c)}, f.people(t, c), f.bounds(t, c), f.factors(t, c), f.provider(t, c, operators), f.lent(t, c, operators))
}

// hidden is a secret that one policy allows and another denies: damage must not let it through.
func (f *fleet) hidden(t *testing.T, c *client) probe {
	t.Helper()
	must(t, c.call("PUT", "sys/policies/acl/wide", `{"policy":"path \"plain/*\" { capabilities = [\"read\"] }"}`, nil))
	must(t, c.call("PUT", "sys/policies/acl/narrow", `{"policy":"path \"plain/s0\" { capabilities = [\"deny\"] }"}`, nil))
	token, err := c.issue(`,"policies":["wide","narrow"]`)
	must(t, err)
	return probe{name: "hidden", rests: []string{at("plain/")}, ask: func(c *client) (bool, string) {
		a, err := newHolder(c, token).ask("GET", "plain/s0", nil)
		if err == nil && a.status == http.StatusOK {
			return false, "what a policy denies is let through"
		}
		return err == nil && a.status == http.StatusForbidden, ""
	}}
}

// knows asks for a number with any of the tokens. That there is none would be a lie, as would another one be.
func (c *client) knows(path string, tokens []string, want int, at ...string) (right bool, lie string) {
	for _, token := range tokens {
		a, err := newHolder(c, token).ask("GET", path, nil)
		reasons, _ := a.body["errors"].([]any)
		switch {
		case err != nil:
		case a.status == http.StatusOK && a.number(at...) == want:
			right = true
		case a.status == http.StatusOK, a.status == http.StatusNotFound && len(reasons) == 0:
			lie = fmt.Sprintf("%s is answered with %d: %v", path, a.status, a.body)
		}
	}
	return right, lie
}

// damage changes rows, has a node start on what is there, asks it all that is known, and puts the rows back.
// It returns what that node has not answered.
func (f *fleet) damage(t testing.TB, e editor, known []probe, what string, old, changed []row, meanwhile func(cold *client)) (silent []probe) {
	t.Helper()
	for _, r := range changed {
		if !e.write(t, r) {
			t.Fatalf("%s: there is no %s", what, r.key)
		}
	}
	cold := f.nodes[2]
	must(t, cold.kill())
	if err := cold.start(); err == nil {
		err = f.unsealWithin(cold, 3)
		for _, i := range []int{0, 2} {
			for k, got := range f.asked(i, known) {
				if got.lie != "" && !known[k].lifted(old) {
					t.Errorf("%s: node %s: %s: %s", what, f.nodes[i].spec.Name, known[k].name, got.lie)
				}
				if !got.right && i == 2 {
					silent = append(silent, known[k])
				}
			}
		}
	} else {
		silent = known
	}
	meanwhile(f.client(2, f.root))
	for _, r := range old {
		e.write(t, r)
	}
	return silent
}

// said is what came of a probe.
type said struct {
	right bool
	lie   string
}

// asked are what a node says to all probes, which are asked at the same time.
func (f *fleet) asked(i int, known []probe) []said {
	out := make([]said, len(known))
	c := f.client(i, "")
	defer c.http.CloseIdleConnections()
	var wg sync.WaitGroup
	for k, p := range known {
		wg.Go(func() { out[k].right, out[k].lie = p.ask(c) })
	}
	wg.Wait()
	return out
}

// lifted reports whether rows are among those that limit what is asked, and do not while they are damaged.
func (p *probe) lifted(damaged []row) bool {
	return p.lifts != "" && slices.ContainsFunc(damaged, func(r row) bool { return strings.Contains(r.key, p.lifts) })
}

// own are the kinds of row whose damage concerns what they are of and nothing else.
func own(kind string) bool {
	return strings.HasPrefix(kind, "d/root/m/") || strings.HasPrefix(kind, "d/root/token/") || strings.HasPrefix(kind, "d/root/policy/") || strings.HasPrefix(kind, "d/root/due/")
}

const mountRows = "d/root/mount/"

// mounts reports whether a kind of row is of mounts: its damage keeps no node from serving the rest.
func mounts(kind string) bool { return strings.HasPrefix(kind, mountRows) }

// apart reports whether a kind of row is such that its damage silences what rests on it and nothing else.
func apart(kind string) bool {
	return mounts(kind) || slices.ContainsFunc([]string{"d/root/quota/", "d/root/mfa/", "d/root/oidc/", "d/root/lease/", "d/root/m/*/lockout/"}, func(area string) bool { return strings.HasPrefix(kind, area) })
}

// besides are the names of those of the silent that damaged rows do not account for.
func besides(silent []probe, damaged []row) (names []string) {
	for _, p := range silent {
		if !p.without(damaged) {
			names = append(names, p.name)
		}
	}
	return names
}

// mountsAreKeptApart damages each row of a mount, and their guard: a node that starts serves all the rest, says of
// the mount why it does not, and lets nobody take its place. The control is the key ring, without which it must not serve.
func mountsAreKeptApart(t *testing.T, f *fleet, e editor, known []probe) {
	t.Helper()
	names := map[string]string{"chaos/": "chaos/data/s0", "plain/": "plain/s0", "cubbyhole/": "cubbyhole/s", "auth/token/": "auth/token/lookup-self", "sys/": "", "guard": ""}
	for _, r := range e.rows(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(r.key, mountRows), "at/")
		path, ours := names[name]
		if ours = ours && mounts(r.key); !ours && r.key != "core/keyring" {
			continue
		}
		delete(names, name)
		v := bytes.Clone(r.value)
		v[len(v)/2] ^= 1
		silent := f.damage(t, e, known, r.key, []row{r}, []row{{r.key, v}}, func(c *client) {
			if path != "" {
				c.isKeptApart(t, r.key, path, name)
			}
		})
		switch lost := besides(silent, []row{r}); {
		case ours && len(lost) > 0:
			t.Errorf("%s: %q are not answered any more", r.key, lost)
		case ours && path != "" && len(silent) == 0 && name != "auth/token/", !ours && len(silent) < len(known):
			t.Errorf("the damage of %s is not noticed", r.key)
		}
	}
	if len(names) > 0 {
		t.Errorf("no rows were found of %v", names)
	}
}

// isKeptApart asks a node about a mount whose row is damaged.
func (c *client) isKeptApart(t *testing.T, key, path, name string) {
	t.Helper()
	key = strings.TrimPrefix(key, "d/")
	tell := func(method, path, body string) string {
		status, text, err := c.send(method, path, body)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d %s", status, text)
	}
	if got := tell("GET", path, ""); !strings.HasPrefix(got, "500") || !strings.Contains(got, key) {
		t.Errorf("%s is damaged, and %s is answered with %s", key, path, got)
	}
	list := "sys/mounts"
	if strings.HasPrefix(name, "auth/") {
		list = "sys/auth"
	}
	if got := tell("GET", list, ""); !strings.HasPrefix(got, "200") || !strings.Contains(got, key+" is damaged") {
		t.Errorf("%s is damaged, and %s says %s", key, list, got)
	}
	if name == "chaos/" || name == "plain/" {
		for _, place := range []string{name, name + "below"} {
			if got := tell("POST", "sys/mounts/"+place, `{"type":"kv"}`); !strings.HasPrefix(got, "500") {
				t.Errorf("%s is damaged, and another mount at %s is answered with %s", key, place, got)
			}
		}
	}
}

// damageIsFound damages rows of all kinds, and exchanges rows of the same kind. What it does first lies above the store, and is the same on each engine: one
// of them will do.
func damageIsFound(t *testing.T, f *fleet, e editor, s uint64, first func(*testing.T, *fleet, editor, []probe)) {
	known := f.furnished(t)
	for k, got := range f.asked(1, known) {
		if !got.right || got.lie != "" {
			t.Fatalf("%s is not known from the start: %s", known[k].name, got.lie)
		}
	}
	first(t, f, e, known)
	r := rand.New(rand.NewPCG(s, 3))
	kinds := kindsOf(e.rows(t))
	names := slices.Sorted(maps.Keys(kinds))
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	noticed := 0
	for i := range *damages {
		kind := names[i%len(names)]
		rows := kindsOf(e.rows(t))[kind] // as they are now: nodes have gone on writing
		if len(rows) == 0 {
			continue
		}
		what, old, changed := disturb(r, kind, rows, i/len(names)%2 == 1)
		start := time.Now()
		silent := f.damage(t, e, known, what, old, changed, func(*client) {})
		if len(silent) > 0 {
			noticed++
		}
		t.Logf("%s: %d of %d are not answered, after %v", what, len(silent), len(known), time.Since(start).Round(time.Millisecond))
		if own(kind) && len(silent) > 6 { // five are asked with the root token, whose row may be exchanged with that of another
			t.Errorf("%s: %d of %d are not answered any more", what, len(silent), len(known))
		}
		if lost := besides(silent, old); apart(kind) && len(lost) > 0 {
			t.Errorf("%s: %q are not answered any more", what, lost)
		}
	}
	if noticed == 0 {
		t.Error("no damage was noticed: this shows nothing")
	}
	must(t, f.nodes[2].kill())
	must(t, f.restart(f.nodes[2]))
	for k, got := range f.asked(2, known) {
		if !got.right || got.lie != "" {
			t.Errorf("%s is not answered after everything was put back: %s", known[k].name, got.lie)
		}
	}
}

// kindsOf are rows by their kinds, without those that nodes write all the time.
func kindsOf(rows []row) map[string][]row {
	kinds := map[string][]row{}
	for _, x := range rows {
		if k := kindOf(x.key); !strings.HasPrefix(k, "core/nodes/") {
			kinds[k] = append(kinds[k], x)
		}
	}
	return kinds
}

// disturb flips a bit of a row, or exchanges two rows where there are two.
func disturb(r *rand.Rand, kind string, rows []row, exchange bool) (what string, old, changed []row) {
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	if exchange && len(rows) > 1 {
		return kind + " exchanged", rows[:2], []row{{rows[0].key, rows[1].value}, {rows[1].key, rows[0].value}}
	}
	v := bytes.Clone(rows[0].value)
	at := r.IntN(len(v))
	v[at] ^= 1 << r.IntN(8)
	return fmt.Sprintf("%s changed at %d of %d", kind, at, len(v)), rows[:1], []row{{rows[0].key, v}}
}

func TestDamage(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		f := newFleet(t, "postgres", lending(t))
		damageIsFound(t, f, postgresEditor{f}, drawn(t), mountsAreKeptApart)
	})
	t.Run("etcd", func(t *testing.T) {
		f := newFleet(t, "external", lending(t))
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{f.cluster.Endpoint}, DialTimeout: 5 * time.Second})
		must(t, err)
		t.Cleanup(func() { must(t, c.Close()) })
		damageIsFound(t, f, etcdEditor{c}, drawn(t), nothingIsForgotten)
	})
}
