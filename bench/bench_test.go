package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the benchmark start the test binary as the bare handler, as it starts itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-serve-") {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestShortRun runs the whole benchmark in small, so that it works on the day it is wanted.
func TestShortRun(t *testing.T) {
	o := options{clients: []int{1, 4}, rounds: 1, each: 50 * time.Millisecond, json: true, storage: "pebble"}
	var out bytes.Buffer
	if err := o.run(&out); err != nil {
		t.Fatal(err)
	}
	var results []result
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != len(workloads)*len(o.clients) {
		t.Fatalf("%d rows, want %d", len(results), len(workloads)*len(o.clients))
	}
	for _, r := range results {
		for _, name := range []string{"strongroom", "bare"} {
			if m := r.By[name]; m.Throughput <= 0 || m.CPU <= 0 || m.P50 <= 0 || m.P99 < m.P50 {
				t.Errorf("%s at %d clients: %s gives %+v", r.Workload, r.Clients, name, m)
			}
		}
		ours, bare := r.By["strongroom"].Size, r.By["bare"].Size
		if difference := ours - bare; difference < -20 || difference > 20 {
			t.Errorf("%s: the bare handler answers %d bytes, the server %d", r.Workload, bare, ours)
		}
	}
	if rows := strings.Count(markdown(results), "\n"); rows != len(results)+2 {
		t.Errorf("the table has %d lines, want %d", rows, len(results)+2)
	}
}

// TestShortComparison compares stores in small: a read of one in another process costs it a question for its revision and
// nothing else, and a write a commit.
func TestShortComparison(t *testing.T) {
	o := options{clients: []int{4}, rounds: 1, each: 50 * time.Millisecond, json: true, only: "read,write", engines: "pebble,postgres,member"}
	var out bytes.Buffer
	if err := o.run(&out); err != nil {
		t.Fatal(err)
	}
	var results []result
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results) != 2 {
		t.Fatalf("%d rows, want 2: %v", len(results), err)
	}
	read, write := results[0].By, results[1].By
	for name, remote := range map[string]bool{"pebble": false, "postgres": true, "member": true} {
		if trips := read[name].Trips; remote != (trips > 0) || trips > 1.5 {
			t.Errorf("a read on %s made %v round trips of Sync", name, trips)
		}
		if commits := write[name].Commits; commits < 0.9 || commits > 1.5 {
			t.Errorf("a write on %s made %v commits", name, commits)
		}
	}
	if read["postgres"].Database <= 0 || read["pebble"].Database != 0 {
		t.Errorf("the database's CPU is %v, and %v without a database", read["postgres"].Database, read["pebble"].Database)
	}
}

// TestShortLeases runs the measurement of leases in small.
func TestShortLeases(t *testing.T) {
	o := options{leases: true, memoryNum: 128, end: 64, secrets: 32, each: 50 * time.Millisecond}
	var out bytes.Buffer
	if err := o.run(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"64 leases made", "32 secrets made", "from kill to the first read", "64 leases revoked by prefix", "64 leases revoked with their token", "64 leases expired at once"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing about %q in\n%s", want, out.String())
		}
	}
}

// TestShortLogins runs the measurement of logins in small.
func TestShortLogins(t *testing.T) {
	o := options{logins: 200, storage: "pebble"}
	var out bytes.Buffer
	if err := o.run(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| before: started again", "| 20 logins |", "| 200 logins |", "| after: started again"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing about %q in\n%s", want, out.String())
		}
	}
}

// TestMeters checks the meters against this process.
func TestMeters(t *testing.T) {
	if mib, err := resident(os.Getpid()); err != nil || mib < 1 || mib > 4096 {
		t.Errorf("resident memory of this test is %v MiB, %v", mib, err)
	}
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var used time.Duration
	for start := time.Now(); used < 10*time.Millisecond && time.Since(start) < 10*time.Second; { // others may have the processors
		after, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		used = after - before
	}
	if used < 10*time.Millisecond {
		t.Errorf("seconds of work count as %v", used)
	}
}
