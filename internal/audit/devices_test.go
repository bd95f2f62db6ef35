package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// node is one node's devices and a way to call their endpoints.
type node struct {
	*Devices
	broker *Broker
	router *api.Router
}

func newNode(t *testing.T, s store.Store, dir string, configured ...*Declaration) *node {
	t.Helper()
	n := &node{broker: NewBroker()}
	n.Devices = NewDevices(s, Env{Now: time.Now, Dirs: []string{dir}, Headers: map[string]bool{"x-shown": false}}, configured, n.broker)
	eps, err := api.Bind(&Tree{root: n.Devices}, Routes)
	must(t, err)
	headers, err := api.Bind(n.Devices, HeaderRoutes)
	must(t, err)
	n.router, err = api.NewRouter(append(eps, headers...))
	must(t, err)
	must(t, n.Start(t.Context()))
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

func (n *node) call(op api.Op, path, body string) (any, error) {
	m, err := n.router.Match(op, path)
	if err != nil {
		return nil, err
	}
	b, err := api.ParseBody([]byte(body))
	if err != nil {
		return nil, err
	}
	req, _, err := m.Endpoint.Decode(&m, b)
	if err != nil {
		return nil, err
	}
	return m.Endpoint.Invoke(&api.Call{Context: context.Background(), Namespace: api.Namespace{ID: rootID}, RequestID: "id", Path: m.Path, Now: moment}, req)
}

func enableBody(path string) string {
	return fmt.Sprintf(`{"type":"file","options":{"file_path":%q}}`, path)
}

func TestDevicesAreEnabledListedHashedAndDisabled(t *testing.T) {
	dir, s := t.TempDir(), mem.Open()
	n := newNode(t, s, dir)
	log := filepath.Join(dir, "a.log")
	if _, err := n.call(api.Write, "audit/File", fmt.Sprintf(`{"type":"file","description":"d","options":{"file_path":%q,"hmac_accessor":false}}`, log)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read(t, log), `"path":"sys/audit/test"`) {
		t.Error("not tried before it was enabled")
	}
	got, err := n.call(api.Read, "audit", "")
	must(t, err)
	want := &DeviceTable{"file/": {Description: "d", Path: "file/", Type: "file", Options: map[string]string{"file_path": log, "hmac_accessor": "false"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	wire, err := json.Marshal(got)
	if err != nil || !strings.HasPrefix(string(wire), `{"file/":{"description":"d","local":false,"options":{"file_path":`) || !strings.HasSuffix(string(wire), `},"path":"file/","type":"file"}}`) {
		t.Errorf("%s %v", wire, err)
	}
	e := n.broker.Entry()
	e.Request.Data = []byte(`{"a":"hunter2"}`)
	e.Request.Headers = map[string][]string{"X-Shown": {"v"}, "X-Hidden": {"s3cret"}}
	must(t, n.broker.LogRequest(t.Context(), moment, e, nil))
	if got := read(t, log); !strings.Contains(got, `"headers":{"x-shown":["v"]}`) || strings.Contains(got, "s3cret") {
		t.Error(got)
	}
	for _, path := range []string{"audit-hash/file", "audit-hash/file/"} {
		h, err := n.call(api.Write, path, `{"input":"hunter2"}`)
		must(t, err)
		if !strings.Contains(read(t, log), `"a":"`+h.(*HashOutput).Hash+`"`) {
			t.Errorf("%s is not in the log", h)
		}
	}
	for range 2 {
		if _, err := n.call(api.Delete, "audit/file", ""); err != nil {
			t.Fatal(err)
		}
	}
	if rows, err := s.List(t.Context(), store.Range{}); err != nil || len(rows) != 0 || len(n.broker.Status()) != 0 {
		t.Errorf("%v %v", rows, err)
	}
}

func TestDevicesRefuse(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t, mem.Open(), dir, &Declaration{Path: "conf/", Type: "file", Options: map[string]string{"file_path": filepath.Join(dir, "conf.log")}})
	if _, err := n.call(api.Write, "audit/a", enableBody(filepath.Join(dir, "a.log"))); err != nil {
		t.Fatal(err)
	}
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for _, c := range []struct {
		op         api.Op
		path, body string
		kind       api.Kind
		say        string
	}{
		{api.Write, "audit/a", enableBody(filepath.Join(dir, "b.log")), api.Conflict, "path already in use"},
		{api.Write, "audit/A/", enableBody(filepath.Join(dir, "b.log")), api.Conflict, "path already in use"},
		{api.Write, "audit/conf", enableBody(filepath.Join(dir, "b.log")), api.Conflict, "path already in use"},
		{api.Write, "audit/b", enableBody(filepath.Join(dir, "a.log")), api.Invalid, "options.file_path"},
		{api.Write, "audit/b", enableBody(filepath.Join(dir, "dir")), api.Invalid, "the audit device cannot be written: is a directory"},
		{api.Write, "audit/b", enableBody("/etc/passwd"), api.Invalid, "options.file_path"},
		{api.Write, "audit/b", `{"type":"socket","options":{"address":"127.0.0.1:1"}}`, api.Invalid, "the audit device cannot be written: connection refused"},
		{api.Write, "audit/b", `{"type":"nope"}`, api.Invalid, "type"},
		{api.Write, "audit//", `{"type":"file"}`, api.Invalid, "path"},
		{api.Write, "audit/a/../b", `{"type":"file"}`, api.Invalid, "path"},
		{api.Delete, "audit/conf", ``, api.Invalid, "the audit device is declared in the configuration"},
		{api.Write, "audit-hash/none", `{"input":"x"}`, api.Invalid, "unknown audit device"},
		{api.Write, "audit-hash/a", `{}`, api.Invalid, "missing input"},
	} {
		if _, err := n.call(c.op, c.path, c.body); api.KindOf(err) != c.kind || !strings.HasPrefix(err.Error(), c.say) {
			t.Errorf("%s %s %s: %v", c.op, c.path, c.body, err)
		}
	}
	if len(n.broker.Status()) != 2 {
		t.Errorf("%+v", n.broker.Status())
	}
}

func TestNodesShareDevices(t *testing.T) {
	dir, s := t.TempDir(), mem.Open()
	declared := func() *Declaration {
		return &Declaration{Path: "conf/", Type: "file", Options: map[string]string{"file_path": filepath.Join(t.TempDir(), "conf.log")}}
	}
	a, b := newNode(t, s, dir, declared()), newNode(t, s, dir, declared())
	if _, err := a.call(api.Write, "audit/x", enableBody(filepath.Join(dir, "x.log"))); err != nil {
		t.Fatal(err)
	}
	// b has not heard of it yet: the row decides.
	if _, err := b.call(api.Write, "audit/x", enableBody(filepath.Join(dir, "y.log"))); api.KindOf(err) != api.Conflict {
		t.Errorf("enabled twice: %v", err)
	}
	kept := b.open["conf/"].sink
	must(t, b.Reload(t.Context()))
	if b.open["conf/"].sink != kept {
		t.Error("a device that has not changed was opened again")
	}
	for _, path := range []string{"conf", "x"} {
		ha, err := a.call(api.Write, "audit-hash/"+path, `{"input":"v"}`)
		must(t, err)
		hb, err := b.call(api.Write, "audit-hash/"+path, `{"input":"v"}`)
		if err != nil || !reflect.DeepEqual(ha, hb) {
			t.Errorf("%s: %v and %v, %v", path, ha, hb, err)
		}
	}
	if a.open["conf/"].declaration.Key.bytes == a.open["x/"].declaration.Key.bytes {
		t.Error("two devices, one key")
	}
	if _, err := a.call(api.Delete, "audit/x", ""); err != nil {
		t.Fatal(err)
	}
	must(t, b.Reload(t.Context()))
	if len(b.broker.Status()) != 1 {
		t.Errorf("%+v", b.broker.Status())
	}
	// A node that is not configured so does not use what another's configuration declares.
	if c := newNode(t, s, dir); len(c.broker.Status()) != 0 {
		t.Errorf("%+v", c.broker.Status())
	}
}

// A stored device that this node may not open fails closed, naming itself.
func TestStoredDeviceThatIsNotAllowedHereFailsClosed(t *testing.T) {
	dir, s := t.TempDir(), mem.Open()
	a := newNode(t, s, dir)
	if _, err := a.call(api.Write, "audit/x", enableBody(filepath.Join(dir, "x.log"))); err != nil {
		t.Fatal(err)
	}
	b := newNode(t, s, t.TempDir())
	err := b.broker.LogRequest(t.Context(), moment, b.broker.Entry(), nil)
	if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), `"x/"`) || !strings.Contains(err.Error(), "options.file_path") {
		t.Error(err)
	}
}

// A device that this node may not open means for requests what it was declared
// to: without a required one they are refused, and a best-effort one stops nothing.
func TestDeviceThatIsNotAllowedHereKeepsItsMeaning(t *testing.T) {
	for delivery, refused := range map[string]bool{"required": true, "best-effort": false} {
		dir, s := t.TempDir(), mem.Open()
		here := &Declaration{Path: "here/", Type: "file", Options: map[string]string{"file_path": filepath.Join(t.TempDir(), "a.log"), "delivery": "best-effort"}}
		if refused {
			delete(here.Options, "delivery")
		}
		a := newNode(t, s, dir)
		_, err := a.call(api.Write, "audit/x", fmt.Sprintf(`{"type":"file","options":{"file_path":%q,"delivery":%q}}`, filepath.Join(dir, "x.log"), delivery))
		must(t, err)
		b := newNode(t, s, t.TempDir(), here)
		err = b.broker.LogRequest(t.Context(), moment, b.broker.Entry(), nil)
		if (err != nil) != refused || refused && api.KindOf(err) != api.Unavailable {
			t.Errorf("%s: %v", delivery, err)
		}
	}
}

// What the configuration declares counts, also where the API was used for a
// device of the same name before.
func TestConfiguredDeviceTakesThePlaceOfAnother(t *testing.T) {
	dir, s := t.TempDir(), mem.Open()
	a := newNode(t, s, dir)
	_, err := a.call(api.Write, "audit/x", enableBody(filepath.Join(dir, "old.log")))
	must(t, err)
	file := filepath.Join(t.TempDir(), "configured.log")
	b := newNode(t, s, dir, &Declaration{Path: "x/", Type: "file", Options: map[string]string{"file_path": file}})
	must(t, b.broker.LogRequest(t.Context(), moment, b.broker.Entry(), nil))
	if read(t, file) == "" {
		t.Error("the configured file has nothing")
	}
	if list := b.Devices.open["x/"].declaration; list.Options["file_path"] != file || list.Key.bytes != a.Devices.open["x/"].declaration.Key.bytes {
		t.Errorf("%v", list.Options)
	}
}

func TestDeclarationsKeepTheirKeyToThemselves(t *testing.T) {
	d := &Declaration{Path: "a/", Type: "file", Options: map[string]string{"file_path": "/x"}, Description: "d"}
	d.Complete()
	b, err := d.Encode()
	must(t, err)
	got, err := DecodeDeclaration(b)
	must(t, err)
	if got.Key.Hash([]byte("x")) != d.Key.Hash([]byte("x")) || got.Accessor != d.Accessor || !reflect.DeepEqual(got.Options, d.Options) {
		t.Errorf("%+v", got)
	}
	k := d.Key.bytes
	leaks := []string{string(k[:4]), fmt.Sprintf("%x", k[:4]), fmt.Sprintf("%X", k[:4]), fmt.Sprintf("%d %d %d", k[0], k[1], k[2]), fmt.Sprintf("%#x, %#x, %#x", k[0], k[1], k[2])}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
		for _, v := range []any{d, *d, d.Key} {
			for _, leak := range leaks {
				if out := fmt.Sprintf(verb, v); strings.Contains(out, leak) {
					t.Errorf("%s shows the key: %s", verb, out)
				}
			}
		}
	}
	for _, bad := range []string{``, `{}`, `{"key":"AAAA"}`, `{"key":1}`} {
		if _, err := DecodeDeclaration([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestReloadKeepsWhatWorksWhenTheStoreFails(t *testing.T) {
	dir := t.TempDir()
	s := mem.Open()
	n := newNode(t, s, dir)
	if _, err := n.call(api.Write, "audit/x", enableBody(filepath.Join(dir, "x.log"))); err != nil {
		t.Fatal(err)
	}
	must(t, s.Close())
	if err := n.Reload(t.Context()); !errors.Is(err, store.ErrClosed) || len(n.broker.Status()) != 1 {
		t.Error(err)
	}
}

func FuzzDecodeDeclaration(f *testing.F) {
	d := &Declaration{Path: "a/", Type: "file"}
	d.Complete()
	b, err := d.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := DecodeDeclaration(in)
		if err != nil {
			return
		}
		if _, err := d.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}

// Filters must leave no entry to nobody, and what several devices share is
// refused by name.
func TestDevicesGoTogether(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t, mem.Open(), dir)
	c := newCollector(t)
	gone := newCollector(t)
	gone.stop()
	file := func(name, more string) string {
		return fmt.Sprintf(`{"type":"file","options":{"file_path":%q%s}}`, filepath.Join(dir, name), more)
	}
	peer := func(addr, more string) string {
		return fmt.Sprintf(`{"type":"socket","options":{"address":%q%s}}`, addr, more)
	}
	spool := fmt.Sprintf(`,"spool_path":%q,"spool_size":"1MiB"`, filepath.Join(dir, "spools/a"))
	for _, step := range []struct {
		op               api.Op
		path, body, want string // want: empty when it is taken
	}{
		{api.Write, "audit/kv", file("kv", `,"filter":"mount_type == \"kv\""`), "options.filter: would leave entries"},
		{api.Write, "audit/rest", file("rest", `,"fallback":true,"delivery":"required"`), "options.fallback: does not go with delivery"},
		{api.Write, "audit/rest", file("rest", `,"delivery":"s3cret"`), "options.delivery: is not supported"},
		{api.Write, "audit/rest", file("rest", `,"prefix":"#!/bin/sh "`), "options.prefix: is not supported for files"},
		{api.Write, "audit/rest", file("rest", `,"fallback":true`), ""},
		{api.Write, "audit/more", file("more", `,"fallback":"true"`), "options.fallback: is asked for by another"},
		{api.Write, "audit/kv", file("kv", `,"filter":"mount_type == \"kv\""`), ""},
		{api.Write, "audit/peer", peer(gone.addr, ""), "the audit device cannot be written: connection refused"},
		{api.Write, "audit/peer", peer(c.addr, spool+`,"prefix":"@cee: "`), ""},
		{api.Write, "audit/peer2", peer(c.addr, spool), "options.spool_path: is in use"},
		{api.Write, "audit/f", file("spools/a", ``), "options.file_path: is in use"},
		{api.Write, "audit/f", peer(c.addr, `,"spool_path":"/etc/passwd"`), "options.spool_path: is not below"},
		{api.Delete, "audit/peer", "", ""},
		{api.Delete, "audit/rest", "", ""},
		{api.Write, "audit/rest", file("rest", ``), ""},
		{api.Write, "audit/more", file("more", `,"fallback":true,"filter":"true"`), "options.fallback: does not go with a filter"},
		{api.Delete, "audit/kv", "", ""},
	} {
		_, err := n.call(step.op, step.path, step.body)
		if step.want == "" && err != nil || step.want != "" && (api.KindOf(err) != api.Invalid || !strings.HasPrefix(err.Error(), step.want) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s %s: %v, want %q", step.path, step.body, err, step.want)
		}
	}
	if got := read(t, filepath.Join(dir, "kv")); strings.Count(got, "\n") != 1 {
		t.Errorf("the filtered device has more than the entry that it was tried with: %q", got)
	}
}

// What the configuration declares may have a prefix in a file too.
func TestPrefix(t *testing.T) {
	dir := t.TempDir()
	conf := &Declaration{Path: "conf/", Type: "file", Options: map[string]string{"file_path": filepath.Join(dir, "conf.log"), "prefix": "@cee: "}}
	n := newNode(t, mem.Open(), dir, conf)
	must(t, n.broker.LogRequest(t.Context(), moment, n.broker.Entry(), nil))
	if got := read(t, filepath.Join(dir, "conf.log")); !strings.HasPrefix(got, `@cee: {"time":"2026-`) || !strings.HasSuffix(got, "}\n") {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"a\nb", "\x1b[31m", strings.Repeat("a", maxPrefix+1), "\xff"} {
		d := &Declaration{Path: "a/", Type: "stdout", Options: map[string]string{"prefix": bad}, Key: testKey(), Configured: true}
		if _, err := Open(d, Env{Now: time.Now, Stdout: &strings.Builder{}}); api.KindOf(err) != api.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestNothingIsOpenedAfterClose has a request come late, as the server seals: its file
// would never be closed.
func TestNothingIsOpenedAfterClose(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t, mem.Open(), dir)
	if _, err := n.call(api.Write, "audit/x", enableBody(filepath.Join(dir, "x.log"))); err != nil {
		t.Fatal(err)
	}
	must(t, n.Close())
	if err := n.Reload(t.Context()); api.KindOf(err) != api.Unavailable || len(n.open) > 0 {
		t.Errorf("%d devices are open after closing: %v", len(n.open), err)
	}
}

// A device whose file is gone, and cannot be begun anew with what it owes, is disabled all
// the same.
func TestDeviceThatCannotBeClosedIsDisabled(t *testing.T) {
	dir, s := t.TempDir(), mem.Open()
	n := newNode(t, s, dir)
	logs := filepath.Join(dir, "logs")
	must(t, os.Mkdir(logs, 0o700))
	_, err := n.call(api.Write, "audit/file", enableBody(filepath.Join(logs, "a.log")))
	must(t, err)
	must(t, n.broker.LogRequest(t.Context(), moment, n.broker.Entry(), nil))
	must(t, os.RemoveAll(logs))
	must(t, os.WriteFile(logs, nil, 0o600))
	_, err = n.call(api.Delete, "audit/file", "")
	must(t, err)
	if got, err := n.call(api.Read, "audit", ""); err != nil || len(*got.(*DeviceTable)) != 0 {
		t.Errorf("%v %v", got, err)
	}
}

// A peer with a spool may be away when its device is enabled, of which who does it is warned; without one it must be there.
func TestDeviceWaitsForItsPeer(t *testing.T) {
	dir := t.TempDir()
	n := newNode(t, mem.Open(), dir)
	gone := newCollector(t)
	gone.stop()
	enable := func(kind string, options map[string]string) ([]string, error) {
		c := &api.Call{Context: t.Context(), Namespace: api.Namespace{ID: rootID}, RequestID: "id", Now: moment}
		_, err := n.Enable(c, &EnableDevice{Path: api.Name(kind), Type: kind, Options: options})
		return c.Warnings(), err
	}
	for kind, options := range map[string]map[string]string{
		"socket": {"address": gone.addr},
		"syslog": {"address": filepath.Join(dir, "nobody"), "socket_type": "unix"},
	} {
		if warned, err := enable(kind, options); api.KindOf(err) != api.Invalid || len(warned) != 0 {
			t.Errorf("%s without a spool: %v, warnings %q", kind, err, warned)
		}
		options["spool_path"], options["spool_size"] = filepath.Join(dir, kind+".spool"), "1MiB"
		warned, err := enable(kind, options)
		if err != nil || len(warned) != 1 || !strings.Contains(warned[0], "wait in the spool") || strings.Contains(warned[0], options["address"]) {
			t.Errorf("%s with a spool: %v, warnings %q", kind, err, warned)
		}
	}
	if len(n.open) != 2 {
		t.Errorf("in use: %d devices", len(n.open))
	}
}
