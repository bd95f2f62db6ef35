package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/proxy"
)

// network is a bridge of this machine, and a network namespace on it for each node: what passes between nodes, or between a
// node and its store, is dropped there by nftables in the directions that are cut. Clients reach every node all the time.
type network struct {
	bridge string
	subnet string // what addresses begin with
	store  string // host:port at which nodes reach a store by itself; empty: there is none
}

// netPrefix is what the names of bridges begin with; the rest is the id of the process that made it.
const netPrefix = "sr"

// newNetwork makes the bridge and the namespaces, which end with the test.
func newNetwork(t *testing.T) *network {
	t.Helper()
	sweepNetworks(t)
	lot := rand.IntN(1 << 12) // a link outlives its namespace by a moment, so that names are not used again
	w := &network{bridge: fmt.Sprintf("%s%dx%02x", netPrefix, os.Getpid(), lot&0xff), subnet: fmt.Sprintf("10.%d.%d.", 200+lot>>8, lot&0xff)}
	t.Cleanup(func() {
		if err := removeNetwork(w.bridge); err != nil {
			t.Error(err)
		}
	})
	must(t, errors.Join(command("ip", "link", "add", w.bridge, "type", "bridge"), command("ip", "address", "add", w.subnet+"1/24", "dev", w.bridge),
		command("ip", "link", "set", w.bridge, "up")))
	for i := range fleetSize {
		ns, outer := w.namespace(i), fmt.Sprintf("%s-%d", w.bridge, i)
		must(t, errors.Join(command("ip", "netns", "add", ns), command("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", ns),
			command("ip", "link", "set", outer, "master", w.bridge, "up"), command("ip", "-n", ns, "address", "add", w.host(i)+"/24", "dev", "eth0"),
			command("ip", "-n", ns, "link", "set", "eth0", "up"), command("ip", "-n", ns, "link", "set", "lo", "up")))
	}
	return w
}

func (w *network) namespace(i int) string { return fmt.Sprintf("%s.%d", w.bridge, i) }
func (w *network) host(i int) string      { return w.subnet + strconv.Itoa(10+i) }

// removeNetwork removes what newNetwork made. Removing a namespace removes its links.
func removeNetwork(bridge string) error {
	spaces, err := filepath.Glob("/run/netns/" + bridge + ".*")
	for _, s := range spaces {
		err = errors.Join(err, command("ip", "netns", "del", filepath.Base(s)))
	}
	if _, gone := os.Stat("/sys/class/net/" + bridge); gone != nil {
		return err
	}
	return errors.Join(err, command("ip", "link", "del", bridge))
}

// sweepNetworks removes what killed runs have left.
func sweepNetworks(t *testing.T) {
	t.Helper()
	all, _ := filepath.Glob("/sys/class/net/" + netPrefix + "[0-9]*")
	for _, path := range all {
		pid, lot, ours := strings.Cut(strings.TrimPrefix(filepath.Base(path), netPrefix), "x")
		if _, err := os.Stat("/proc/" + pid); ours && len(lot) == 2 && errors.Is(err, os.ErrNotExist) {
			if err := removeNetwork(filepath.Base(path)); err != nil {
				t.Logf("a network that a killed run has left: %v", err)
			}
		}
	}
}

// serves has nodes reach a store of this machine.
func (w *network) serves(t *testing.T, addr string) {
	t.Helper()
	w.store = proxy.NewOn(t, w.subnet+"1", addr).Addr()
}

// partition is the directions in which a node is cut off from the other nodes and from the store.
type partition string

const (
	bothWays partition = "both ways"
	inwards  partition = "inwards"
	outwards partition = "outwards"
	nowhere  partition = "nowhere" // the control of the cut itself
)

// cut drops what passes between a node and the other nodes, and the store.
func (w *network) cut(i int, how partition) error {
	var from, to []string
	drop := func(direction, matches string) string {
		return fmt.Sprintf("ip %saddr %s drop", direction, matches)
	}
	for j := range fleetSize {
		if j != i {
			from, to = append(from, drop("s", w.host(j))), append(to, drop("d", w.host(j)))
		}
	}
	if w.store != "" {
		host, port, _ := strings.Cut(w.store, ":")
		from, to = append(from, drop("s", host+" tcp sport "+port)), append(to, drop("d", host+" tcp dport "+port))
	}
	if how == inwards || how == nowhere {
		to = nil
	}
	if how == outwards || how == nowhere {
		from = nil
	}
	rules := fmt.Sprintf("table inet cut {\n chain in { type filter hook input priority 0; policy accept;\n%s\n}\n chain out { type filter hook output priority 0; policy accept;\n%s\n}\n}\n",
		strings.Join(from, "\n"), strings.Join(to, "\n"))
	cmd := exec.Command("ip", "netns", "exec", w.namespace(i), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s: install iproute2 and nftables", err, out)
	}
	return nil
}

// heal lets everything through again.
func (w *network) heal(i int) error {
	return command("ip", "netns", "exec", w.namespace(i), "nft", "delete", "table", "inet", "cut")
}

// newCutFleet starts a fleet whose nodes are each in a network namespace.
func newCutFleet(t *testing.T, engine string, change func(i int, s *spec)) *fleet {
	t.Helper()
	return (&fleet{engine: engine, net: newNetwork(t), hurry: time.Second}).begin(t, change)
}

// cutOff cuts node i off under a history, in one way, and looks at what it and the others do meanwhile.
func (f *fleet) cutOff(t testing.TB, i int, how partition, lasts time.Duration) {
	t.Helper()
	must(t, f.net.cut(i, how))
	all := f.clients()
	defer closeIdle(all)
	for j, c := range all {
		if j == i {
			continue
		}
		if err := awaitFor(heals, "the others go on", func() bool { return c.call("PUT", "cubbyhole/cut", `{"n":1}`, nil) == nil }); err != nil {
			t.Errorf("node %d is cut off %s: node %d: %v", i, how, j, err)
		}
	}
	all[i].http.Timeout = time.Second
	if status, _, err := all[i].send("GET", "plain/kept", ""); err == nil && status < 500 {
		t.Errorf("a node that is cut off %s from what it rests on answers a read with %d", how, status)
	}
	<-time.After(lasts)
	must(t, f.net.heal(i))
}

// partitions cuts nodes off, in an order that is drawn, in each way.
func (f *fleet) partitions(t testing.TB, seed uint64, rounds int, ways ...partition) func() {
	r := rand.New(rand.NewPCG(seed, 7))
	must(t, f.client(0, f.root).call("POST", "plain/kept", `{"n":1}`, nil))
	return func() {
		for range rounds {
			for _, w := range r.Perm(len(ways)) {
				i := r.IntN(fleetSize)
				f.cutOff(t, i, ways[w], time.Duration(r.Int64N(int64(*longest))))
				f.whole(t)
			}
		}
	}
}

// separable tells whether networks can be cut here.
func separable(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("NOT RUN: network namespaces and nftables take root; TestFleet cuts nodes off by a proxy")
		return false
	}
	return true
}

// TestPartition cuts nodes off from each other and from the store, in both directions and in each.
func TestPartition(t *testing.T) {
	if !separable(t) {
		return
	}
	for engine := range strings.SplitSeq(*engines, ",") {
		t.Run(engine, func(t *testing.T) {
			f, s := newCutFleet(t, engine, nil), drawn(t)
			h := perform(f, s, 300, f.partitions(t, s, *rounds, bothWays, inwards, outwards))
			h.judge(t)
		})
	}
}

// TestPartitionControl is the control: a cut that lets everything through, and a node that answers from what it remembers.
func TestPartitionControl(t *testing.T) {
	if !separable(t) {
		return
	}
	f, s := newCutFleet(t, "postgres", func(i int, s *spec) {
		if i == 2 {
			s.Fault = stale
		}
	}), drawn(t)
	must(t, f.client(0, f.root).call("POST", "plain/kept", `{"n":1}`, nil))
	must(t, await("a node with late news knows its mounts", func() bool { return f.client(2, f.root).call("GET", "plain/kept", "", nil) == nil }))
	caught(t, func(t testing.TB) { f.cutOff(t, 2, nowhere, 0) }, "answers a read with 200")
	caught(t, func(t testing.TB) {
		performUntilWrong(f, s, func() {
			<-time.After(time.Second)
			f.cutOff(t, 2, bothWays, time.Second)
		}).judge(t)
	}, "no single copy answers so")
}
