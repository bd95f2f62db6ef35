package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// round is what one round of load found.
type round struct {
	Throughput float64 // Throughput is in requests a second.
	P50, P99   time.Duration
	CPU        time.Duration // CPU is the server's, for each request.
	Size       int           // Size is the length of one answer's body in bytes.
	Database   time.Duration // Database is the CPU of the database's processes, for each request.
	Trips      float64       // Trips is the round trips of Sync, for each request.
	Reads      float64       // Reads is the store's entries and ranges that were read, for each request.
	Commits    float64       // Commits is the store's commits, for each request.
}

// drive sends requests to the target from so many clients for the duration, each client over a connection of its own that
// waits for every answer.
func drive(t *target, wl workload, clients int, each time.Duration) (round, error) {
	conns, err := dial(t, wl, clients)
	if err != nil {
		return round{}, err
	}
	counted, err := t.counts()
	if err != nil {
		return round{}, err
	}
	before, err := cpuTime(t.pid)
	if err != nil {
		return round{}, err
	}
	start := time.Now()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() { c.err = c.loop(start.Add(each)) })
	}
	wg.Wait()
	took := time.Since(start)
	after, err := cpuTime(t.pid)
	now, cerr := t.counts()
	err = errors.Join(err, cerr)
	for _, c := range conns {
		err = errors.Join(err, c.err, c.conn.Close())
	}
	if err != nil {
		return round{}, fmt.Errorf("%s, %s: %w", t.name, wl.name, err)
	}
	r := sum(conns, took, after-before)
	n := r.Throughput * took.Seconds()
	r.Database = time.Duration(float64(now.database-counted.database) / n)
	r.Trips, r.Reads, r.Commits = (now.trips-counted.trips)/n, (now.reads-counted.reads)/n, (now.commits-counted.commits)/n
	return r, nil
}

func dial(t *target, wl workload, clients int) ([]*conn, error) {
	conns := make([]*conn, clients)
	for i := range conns {
		nc, err := net.Dial("tcp", t.addr)
		if err != nil {
			return nil, err
		}
		conns[i] = &conn{conn: nc, r: bufio.NewReaderSize(nc, 64<<10), requests: wl.requestsFor(t, i), took: make([]time.Duration, 0, 1<<16)}
	}
	return conns, nil
}

func sum(conns []*conn, took, cpu time.Duration) round {
	var all []time.Duration
	for _, c := range conns {
		all = append(all, c.took...)
	}
	slices.Sort(all)
	n := len(all)
	return round{
		Throughput: float64(n) / took.Seconds(), P50: all[n/2], P99: all[n*99/100],
		CPU: cpu / time.Duration(n), Size: conns[0].size,
	}
}

// conn is one client.
type conn struct {
	conn     net.Conn
	r        *bufio.Reader
	requests [][]byte
	took     []time.Duration
	size     int
	err      error
}

// loop makes at least one request, and more until the end.
func (c *conn) loop(end time.Time) error {
	for i := 0; ; i++ {
		sent := time.Now()
		if _, err := c.conn.Write(c.requests[i%len(c.requests)]); err != nil {
			return err
		}
		if err := c.answer(); err != nil {
			return err
		}
		now := time.Now()
		c.took = append(c.took, now.Sub(sent))
		if now.After(end) {
			return nil
		}
	}
}

var (
	lengthHeader  = []byte("content-length:")
	chunkedHeader = []byte("transfer-encoding: chunked")
)

// answer reads one HTTP/1.1 answer and looks at no more of it than its status and where it ends.
func (c *conn) answer() error {
	status, err := c.line()
	if err != nil {
		return err
	}
	failed := len(status) < 12 || status[9] != '2'
	what := string(status[:min(len(status), 12)])
	length, chunked := 0, false
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if len(line) > len(lengthHeader) && bytes.EqualFold(line[:len(lengthHeader)], lengthHeader) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(lengthHeader):])))
		}
		if err != nil {
			return err
		}
		chunked = chunked || bytes.EqualFold(line, chunkedHeader)
	}
	if failed {
		body, err := io.ReadAll(io.LimitReader(c.r, int64(length)))
		return errors.Join(fmt.Errorf("answered %s: %s", what, body), err)
	}
	if chunked {
		return c.chunks()
	}
	c.size = length
	_, err = c.r.Discard(length)
	return err
}

// chunks reads a body in chunks to its end.
func (c *conn) chunks() error {
	for c.size = 0; ; {
		line, err := c.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(line), 16, 32)
		if err != nil {
			return err
		}
		if _, err := c.r.Discard(int(n) + len("\r\n")); err != nil || n == 0 {
			return err
		}
		c.size += int(n)
	}
}

// line is the next line without its end; it is valid until the next read.
func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}
