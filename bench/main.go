// Command bench measures the real server over real HTTP on loopback: KV v2 read, write and LIST of 1,000 keys, token create
// and look-up, at 1, 16 and 64 clients, with a file audit device on and every commit on disk. A bare net/http handler that
// decodes the same requests and encodes the same answers runs in a process of its own and is measured in turns with the server, so that
// both meet the same noise; each figure is the median of the rounds.
//
// The server's CPU per request is the time its process spent in user and system mode (its POSIX process CPU clock, which the
// kernel counts in nanoseconds over all threads) divided by the requests answered meanwhile. The load comes from this process
// and is not in it.
//
// With -peer-addr, -peer-pid and -peer-token any other Vault-compatible server is measured in the same turns; its audit
// device must be set up beforehand. With -memory it reports the server's memory instead: idle, and after storing many
// secrets and tokens. With -storage the server has another store than the embedded one, and with -engines the same server on
// several stores is measured in turns. With -logins many people log in, each once. With -leases it makes many leases and reports how long their ends take, and the reads meanwhile.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/test/engine"
	"github.com/strongroom/strongroom/test/process"
)

// options are the command line.
type options struct {
	bare       string // bare is the address to serve the bare handler at; empty to measure.
	clients    []int
	only       string // only is the slugs of the workloads to measure, separated by commas; empty: all
	rounds     int
	each       time.Duration
	peer       target
	json       bool
	memory     bool
	memoryNum  int
	namespaces bool // namespaces asks for the memory of a server with many of them.
	logins     int  // logins is how many people log in; 0: measure something else.
	leases     bool
	end        int    // end is how many of the leases end in each way; 0: all.
	secrets    int    // secrets is how many secrets there are beside the leases.
	lender     string // lender is the address to serve the server that lends at; empty to measure.
	lenderDir  string // lenderDir is where that server keeps its data.
	storage    string // storage is the store of the server.
	engines    string // engines are the stores to compare; empty: none.
}

func main() {
	o := options{clients: []int{1, 16, 64}, peer: target{name: "peer"}}
	flag.StringVar(&o.bare, "serve-bare", "", "serve the bare handler at this address (the benchmark starts itself so)")
	flag.StringVar(&o.storage, "storage", "pebble", "the server's store: "+strings.Join(engine.Names(), ", "))
	flag.StringVar(&o.engines, "engines", "", "measure the server on these stores in turns instead, such as pebble,postgres,member; the first is what others are compared to")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each measurement")
	flag.DurationVar(&o.each, "each", time.Second, "length of a round")
	flag.StringVar(&o.peer.addr, "peer-addr", "", "host:port of another Vault-compatible server to measure beside")
	flag.IntVar(&o.peer.pid, "peer-pid", 0, "its process id")
	flag.StringVar(&o.peer.token, "peer-token", "root", "a token that may do anything there")
	flag.StringVar(&o.only, "only", "", "measure these alone: read, person, write, list, create, lookup, login, separated by commas")
	flag.Func("clients", "numbers of clients, such as 1,64 (default 1,16,64)", o.setClients)
	flag.BoolVar(&o.json, "json", false, "print JSON instead of a table in Markdown")
	flag.BoolVar(&o.memory, "memory", false, "report memory instead of speed")
	flag.IntVar(&o.memoryNum, "num", 100_000, "how many secrets and how many tokens -memory stores, or how many leases -leases makes")
	flag.BoolVar(&o.namespaces, "namespaces", false, "report the memory of a server with -num namespaces instead")
	flag.IntVar(&o.logins, "logins", 0, "have so many people log in instead, each with a signed token of their own, such as 1000000")
	flag.BoolVar(&o.leases, "leases", false, "measure many leases and their ends instead")
	flag.IntVar(&o.end, "end", 0, "how many of the leases -leases has end in each way, while the others stay (default all)")
	flag.IntVar(&o.secrets, "secrets", 0, "how many secrets -leases stores beside the leases")
	flag.StringVar(&o.lender, "serve-leases", "", "serve the server that lends at this address (the benchmark starts itself so)")
	flag.StringVar(&o.lenderDir, "leases-dir", "", "where it keeps its data")
	flag.Parse()
	if err := o.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// setClients reads a list of numbers.
func (o *options) setClients(text string) error {
	o.clients = nil
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return errors.New("not a list of numbers such as 1,64")
		}
		o.clients = append(o.clients, n)
	}
	return nil
}

func (o *options) run(w io.Writer) (err error) {
	if o.bare != "" {
		return serveBare(o.bare)
	}
	if o.lender != "" {
		return serveLeases(o.lender, o.lenderDir)
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.leases {
		return reportLeases(w, dir, o)
	}
	bin, err := process.Build(dir)
	if err != nil {
		return err
	}
	if o.engines != "" {
		return o.compare(w, bin, dir)
	}
	server, e, err := startOn(bin, dir, o.storage)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Kill(), e.Close()) }()
	if o.memory {
		return reportMemory(w, &stand{server, e, bin, dir}, secretsAndTokens(o.memoryNum))
	}
	if o.logins > 0 {
		return reportLogins(w, &stand{server, e, bin, dir}, o.logins)
	}
	if o.namespaces {
		return reportMemory(w, &stand{server, e, bin, dir}, namespaces(o.memoryNum, server.RootToken()))
	}
	bare, err := startBare()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.Kill()) }()
	targets := []*target{
		{name: "strongroom", addr: server.Addr, token: server.RootToken(), pid: server.PID()},
		{name: "bare", addr: bare.Addr, pid: bare.PID(), bare: true},
	}
	if o.peer.addr != "" {
		targets = append(targets, &o.peer)
	}
	results, err := o.measure(targets)
	if err != nil {
		return err
	}
	return o.print(w, results)
}

func (o *options) print(w io.Writer, results []result) error {
	if o.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	_, err := io.WriteString(w, markdown(results))
	return err
}
