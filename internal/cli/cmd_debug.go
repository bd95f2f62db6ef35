package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// debugFlags say what debug collects, and how often.
type debugFlags struct {
	duration, interval, metricsInterval ttl
	output, logFormat                   string
	targets                             []string
	compress                            bool
}

func debugCommand() command {
	d := debugFlags{
		duration: ttl{"2m", 2 * time.Minute}, interval: ttl{"30s", 30 * time.Second}, metricsInterval: ttl{"10s", 10 * time.Second},
	}
	return command{
		use: "debug", short: "Collect a server's state for who looks into a problem",
		long: "What the server answers about itself goes into one archive: its configuration\n" +
			"without secrets, status, host, requests under way, metrics, profiles and log. What\n" +
			"it does not answer is named, and the rest is collected. Most of it needs sudo.\n\n" +
			"Targets: " + strings.Join(debugTargets(), ", ") + ".",
		example: `
			debug -duration=30s -output=case-17
			# one look, without profiles
			debug -duration=0 -target=server-status -target=metrics`,
		flags: d.register,
		check: d.check,
		run:   connected(d.run),
	}
}

func (d *debugFlags) register(f *pflag.FlagSet) {
	f.Var(&d.duration, "duration", "how long to collect; 0 is one look")
	f.Var(&d.interval, "interval", "how often to look at state and profiles")
	f.Var(&d.metricsInterval, "metrics-interval", "how often to look at metrics")
	f.StringVar(&d.output, "output", "", "`file` to write; strongroom-debug-TIME.tar.gz when not given")
	f.StringSliceVar(&d.targets, "target", nil, "`what` to collect, when not all; may be repeated")
	f.StringVar(&d.logFormat, "log-format", "standard", "`form` of the log's lines: standard or json")
	f.BoolVar(&d.compress, "compress", true, "write an archive; false writes a directory")
}

func debugTargets() []string {
	return []string{"config", "host", "requests", "metrics", "pprof", "server-status", "replication-status", "log"}
}

func (d *debugFlags) check(*call) error {
	for _, t := range d.targets {
		if !slices.Contains(debugTargets(), t) {
			return usagef("-target=%s: want one of %s", t, strings.Join(debugTargets(), ", "))
		}
	}
	switch {
	case d.duration.d < 0:
		return usagef("-duration=%s: want a time from 0 up", d.duration.text)
	case d.interval.d < time.Second || d.metricsInterval.d < time.Second:
		return usagef("-interval and -metrics-interval: want a second or more")
	}
	return nil
}

// wants tells whether a target was asked for. Replication is not among all: servers
// that have it are asked by name.
func (d *debugFlags) wants(target string) bool {
	if len(d.targets) == 0 {
		return target != "replication-status"
	}
	return slices.Contains(d.targets, target)
}

func (d *debugFlags) run(c *call, cl *client.Client) error {
	now := time.Now().UTC()
	at := d.outputPath(now)
	if _, err := os.Lstat(at); err == nil {
		return &exit{exitLocal, fmt.Sprintf("Error: %s is there already", at), "remove it, or give another -output"}
	}
	// An interrupt ends the collecting, not the writing.
	ctx, stop := signal.NotifyContext(c.ctx, os.Interrupt)
	defer stop()
	b := &bundle{cl: cl, flags: d, began: now, files: map[string][]byte{}, samples: map[string][]sample{}}
	if err := b.open(ctx); err != nil {
		return failed(err, "asking for the seal status")
	}
	fmt.Fprintf(c.stderr, "Collecting from %s for %s\n", cl.Address(), d.duration.d)
	b.collect(ctx)
	if err := b.seal(); err != nil {
		return err
	}
	write := writeDirectory
	if d.compress {
		write = writeArchive
	}
	if err := write(at, b.files, now); err != nil {
		return fmt.Errorf("write %s: %w", at, err)
	}
	for _, f := range b.failures {
		fmt.Fprintf(c.stderr, "warning: %s: %s\n", f.Target, f.Error)
	}
	return c.say("Success! Wrote %s with %d files; %d things could not be had", at, len(b.files), len(b.failures))
}

func (d *debugFlags) outputPath(now time.Time) string {
	at := d.output
	if at == "" {
		at = "strongroom-debug-" + now.Format("2006-01-02T15-04-05Z")
	}
	if d.compress && !strings.HasSuffix(at, ".tar.gz") && !strings.HasSuffix(at, ".tgz") {
		at += ".tar.gz"
	}
	return at
}

// bundle is what debug has collected so far.
type bundle struct {
	cl    *client.Client
	flags *debugFlags
	began time.Time

	mu       sync.Mutex
	version  string // of the server
	files    map[string][]byte
	samples  map[string][]sample // by the names of the files they go to
	failures []debugFailure
}

// sample is one look at something that is looked at repeatedly.
type sample struct {
	Timestamp time.Time       `json:"timestamp"`
	Value     json.RawMessage `json:"value"`
}

// debugFailure is something that could not be had.
type debugFailure struct {
	Target    string    `json:"target"`
	Error     string    `json:"error"`
	Timestamp time.Time `json:"timestamp"`
}

// open makes sure that there is a server to look at.
func (b *bundle) open(ctx context.Context) error {
	status, err := b.cl.Sys().SealStatus(ctx)
	if err != nil {
		return err
	}
	b.version = status.Version
	return nil
}

func (b *bundle) collect(parent context.Context) {
	ctx, cancel := context.WithTimeout(parent, b.flags.duration.d)
	defer cancel()
	if b.flags.duration.d == 0 {
		ctx = parent
	}
	var work sync.WaitGroup
	work.Go(func() { b.every(ctx, b.flags.interval.d, b.state) })
	if b.flags.wants("metrics") {
		work.Go(func() {
			b.every(ctx, b.flags.metricsInterval.d, func(context.Context) { b.sample(parent, "metrics", "sys/metrics", nil) })
		})
	}
	if b.flags.wants("log") && b.flags.duration.d > 0 {
		work.Go(func() { b.log(ctx) })
	}
	if b.flags.wants("config") {
		b.sample(parent, "config", "sys/config/state/sanitized", nil)
	}
	work.Wait()
}

// every calls look at once and then at each interval until ctx ends, or only once
// where the duration is 0.
func (b *bundle) every(ctx context.Context, interval time.Duration, look func(context.Context)) {
	look(ctx)
	if b.flags.duration.d == 0 {
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			look(ctx)
		}
	}
}

// state looks at all that has no interval of its own. Its short requests are
// finished even when the time is up.
func (b *bundle) state(ctx context.Context) {
	short := context.WithoutCancel(ctx)
	for _, s := range []struct {
		target, file, path string
		query              url.Values
	}{
		{"server-status", "server_status", "sys/seal-status", nil},
		{"server-status", "server_health", "sys/health", url.Values{"sealedcode": {"200"}, "uninitcode": {"200"}, "haunhealthycode": {"200"}, "standbyok": {"true"}}},
		{"host", "host_info", "sys/host-info", nil},
		{"requests", "requests", "sys/in-flight-req", nil},
		{"replication-status", "replication_status", "sys/replication/status", nil},
	} {
		if b.flags.wants(s.target) {
			b.sample(short, s.file, s.path, s.query)
		}
	}
	if b.flags.wants("pprof") {
		b.profiles(ctx)
	}
}

// sample asks once. The answer's data alone is kept, where it is an envelope.
func (b *bundle) sample(ctx context.Context, file, path string, query url.Values) {
	resp, err := b.cl.Do(ctx, client.Request{Path: path, Query: query, Once: true})
	if err != nil {
		b.failed(path, err)
		return
	}
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	raw := json.RawMessage(resp.Body)
	switch {
	case !json.Valid(raw):
		b.failed(path, errors.New("the answer is not JSON"))
		return
	case json.Unmarshal(raw, &envelope) == nil && len(envelope.Data) > 0 && string(envelope.Data) != "null":
		raw = envelope.Data
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.samples[file+".json"] = append(b.samples[file+".json"], sample{time.Now().UTC(), raw})
}

func (b *bundle) failed(target string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = append(b.failures, debugFailure{target, printable(err.Error()), time.Now().UTC()})
}

// profiles takes those that are a moment's, and beside them those that take a while.
func (b *bundle) profiles(ctx context.Context) {
	dir := time.Now().UTC().Format("2006-01-02T15-04-05Z") + "/"
	short := context.WithoutCancel(ctx)
	var work sync.WaitGroup
	if seconds := b.half(ctx); seconds > 0 {
		query := url.Values{"seconds": {strconv.Itoa(seconds)}}
		// A server takes one of these at a time.
		work.Go(func() {
			b.profile(ctx, dir+"profile.prof", "profile", query)
			b.profile(ctx, dir+"trace.out", "trace", query)
		})
	}
	for _, kind := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		b.profile(short, dir+kind+".prof", kind, nil)
	}
	b.profile(short, dir+"goroutines.txt", "goroutine", url.Values{"debug": {"2"}})
	work.Wait()
}

// half is how many whole seconds each of two profiles may take until the next look,
// or until ctx ends; 0 means that there is no time for them.
func (b *bundle) half(ctx context.Context) int {
	left := b.flags.interval.d
	if end, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(end))
	} else if b.flags.duration.d == 0 {
		return 0
	}
	return int(left / time.Second / 2)
}

func (b *bundle) profile(ctx context.Context, file, kind string, query url.Values) {
	path := "sys/pprof/" + kind
	body, err := b.cl.Stream(ctx, client.Request{Path: path, Query: query})
	if err != nil {
		b.failed(path, err)
		return
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxDebugFile))
	if err = errors.Join(err, body.Close()); err != nil {
		b.failed(path, err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[file] = raw
}

// maxDebugFile bounds one file of the bundle, in bytes.
const maxDebugFile = 64 << 20

// log keeps the server's log until ctx ends. That it is cut then is no failure.
func (b *bundle) log(ctx context.Context) {
	query := url.Values{"log_format": {b.flags.logFormat}, "log_level": {"debug"}}
	body, err := b.cl.Stream(ctx, client.Request{Method: http.MethodGet, Path: "sys/monitor", Query: query})
	if err != nil {
		b.failed("sys/monitor", err)
		return
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxDebugFile))
	err = errors.Join(err, body.Close())
	if err != nil && ctx.Err() == nil {
		b.failed("sys/monitor", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files["server.log"] = raw
}

// seal adds the samples and the index to the files.
func (b *bundle) seal() error {
	for name, samples := range b.samples {
		text, err := encode(formatJSON, samples)
		if err != nil {
			return err
		}
		b.files[name] = []byte(text + "\n")
	}
	program, _ := buildVersion()
	index := map[string]any{
		"version": 1, "address": b.cl.Address(), "client_version": program, "server_version": b.version, "timestamp": b.began,
		"duration_seconds": int(b.flags.duration.d / time.Second), "interval_seconds": int(b.flags.interval.d / time.Second),
		"metrics_interval_seconds": int(b.flags.metricsInterval.d / time.Second),
		"targets":                  slices.DeleteFunc(debugTargets(), func(t string) bool { return !b.flags.wants(t) }),
		"files":                    sortedKeys(b.files), "errors": append([]debugFailure{}, b.failures...),
	}
	text, err := encode(formatJSON, index)
	b.files["index.json"] = []byte(text + "\n")
	return err
}
