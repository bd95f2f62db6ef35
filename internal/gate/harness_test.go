package gate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/mfa"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
	"github.com/strongroom/strongroom/internal/quota"
	"github.com/strongroom/strongroom/internal/settings"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/token"
	"github.com/strongroom/strongroom/internal/wrapping"
)

// probe is an engine whose handlers do what a test tells them.
type probe struct {
	calls atomic.Int64
	read  func(*api.Call) (*answer, error)
	keys  []string
	exist func(*api.Call) (bool, error)
	login *api.Auth
	fails error  // what a login answers beside it
	again func() // what happens while the method looks again at who has logged in

	entered atomic.Int64
}

type named struct {
	Name api.Name `path:"name"`
}

type thing struct {
	Path  string     `path:"path"`
	Value string     `json:"value"`
	Key   api.Secret `json:"key"`
}

type page struct {
	After string `json:"after"`
	Limit int    `json:"limit"`
}

type answer struct {
	Value string `json:"value"`
}

type odd struct {
	Keys []string `json:"keys"`
}

func (p *probe) get(c *api.Call, _ *thing) (*answer, error) {
	p.calls.Add(1)
	if p.read != nil {
		return p.read(c)
	}
	return &answer{"seen"}, nil
}

func (p *probe) put(c *api.Call, q *thing) (*answer, error) {
	p.calls.Add(1)
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		tx.Put(q.Path, []byte(q.Value))
		return nil
	})
	return nil, err
}

func (p *probe) has(c *api.Call, q *thing) (bool, error) {
	if p.exist != nil {
		return p.exist(c)
	}
	e, err := c.Store.Get(c, q.Path)
	return e.Exists(), err
}

func (p *probe) list(_ *api.Call, q *page) (*api.Keys, error) {
	p.calls.Add(1)
	keys := slices.DeleteFunc(slices.Clone(p.keys), func(k string) bool { return k <= q.After })
	if q.Limit > 0 && q.Limit < len(keys) {
		keys = keys[:q.Limit]
	}
	info := map[string]any{}
	for _, k := range keys[:min(q.Limit, len(keys))] { // of pages
		info[k] = true
	}
	return &api.Keys{Keys: keys, Info: info}, nil
}

func (p *probe) unpaged(*api.Call, *api.None) (*api.Keys, error) {
	return &api.Keys{Keys: append([]string(nil), p.keys...)}, nil
}

func (p *probe) oddList(*api.Call, *api.None) (*odd, error) { return &odd{p.keys}, nil }

func (p *probe) open(*api.Call, *api.None) (*answer, error) { return &answer{"open"}, nil }

// stream writes once, then waits until it is ended.
func (p *probe) stream(*api.Call, *api.None) (*api.Raw, error) {
	return &api.Raw{ContentType: "text/plain", Stream: func(ctx context.Context, w io.Writer) error {
		p.calls.Add(1)
		_, err := io.WriteString(w, "first")
		<-ctx.Done()
		return err
	}}, nil
}

func (p *probe) named(*api.Call, *named) (*answer, error) { return &answer{"named"}, nil }

func (p *probe) enter(*api.Call, *api.None) (*api.Auth, error) {
	a := *p.login
	return &a, p.fails
}

// byRole is a login by a role.
type byRole struct {
	Role string `json:"role"`
}

func (r *byRole) LoginRole(*api.Call) (string, error) { return r.Role, nil }

func (p *probe) enterBy(*api.Call, *byRole) (*api.Auth, error) {
	p.entered.Add(1)
	a := *p.login
	return &a, p.fails
}

// lookAgain lets whoever has logged in go on.
func (p *probe) lookAgain(*api.Call, *api.Session) (*api.Auth, error) {
	if p.again != nil {
		p.again()
	}
	return nil, nil
}

func lobbyRoutes() []api.Route[*probe] {
	return []api.Route[*probe]{api.Handle(api.Write, "login", (*probe).enter, api.Public), api.Handle(api.Write, "enter", (*probe).enterBy, api.Public)}
}

func probeRoutes() []api.Route[*probe] {
	return []api.Route[*probe]{
		api.Handle(api.Read, "thing/{path...}", (*probe).get),
		api.Upsert("thing/{path...}", (*probe).put, (*probe).has),
		api.Handle(api.List, "page", (*probe).list),
		api.Handle(api.List, "unpaged", (*probe).unpaged),
		api.Handle(api.List, "odd", (*probe).oddList),
		api.Handle(api.Read, "public", (*probe).open, api.Public),
		api.Handle(api.Read, "public/{name}", (*probe).named, api.Public),
		api.Handle(api.Read, "name/{name}", (*probe).named),
		api.Handle(api.Read, "sudo", (*probe).open, api.Sudo),
		api.Handle(api.Read, "stream", (*probe).stream),
		api.Handle(api.Read, "rootonly", (*probe).open, api.RootOnly),
	}
}

// fakeKeys hash and seal in the clear.
type fakeKeys struct{}

func (fakeKeys) TokenHash(_ context.Context, ns, text string) (string, error) {
	return "h" + ns + text, nil
}
func (fakeKeys) SealBatch(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (fakeKeys) OpenBatch(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }
func (fakeKeys) AddNamespaceBelow(context.Context, string, string) error         { return nil }
func (fakeKeys) DropNamespace(context.Context, string) error                     { return nil }

type paths struct{ r *namespace.Registry }

func (p paths) Path(ctx context.Context, id string) (string, bool, error) {
	n, err := p.r.ByID(ctx, id)
	if n == nil || err != nil {
		return "", false, err
	}
	return n.Path, true, nil
}

// sink is an audit device in memory that can be broken.
type sink struct {
	fail atomic.Pointer[func(line []byte) error]
}

func (s *sink) Write(b []byte) (int, error) {
	if f := s.fail.Load(); f != nil {
		if err := (*f)(b); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// hear has the test told of each entry.
func (s *sink) hear(fn func(line string)) {
	f := func(line []byte) error {
		fn(string(line))
		return nil
	}
	s.fail.Store(&f)
}

// breakOn makes the sink fail for entries of one type.
func (s *sink) breakOn(kind string) {
	f := func(line []byte) error {
		if bytes.Contains(line, []byte(`"type":"`+kind+`"`)) {
			return errors.New("no space left")
		}
		return nil
	}
	s.fail.Store(&f)
}

// fixture is a gate with one engine, on memory.
type fixture struct {
	t       testing.TB
	gate    *gate.Gate
	house   *gate.House
	devices *audit.Devices
	engine  *probe
	sink    *sink
	log     bytes.Buffer
	root    string
	now     time.Time // zero: the clock's
}

func (f *fixture) clock() time.Time {
	if f.now.IsZero() {
		return time.Now()
	}
	return f.now
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	ctx, s := context.Background(), mem.Open()
	f := &fixture{t: t, engine: &probe{}, sink: &sink{}, house: &gate.House{Data: s, Audit: audit.NewBroker(), Alone: true, Recalled: func(context.Context) (bool, error) { return false, nil }, CatchUp: func(context.Context) error { return nil }}}
	h := f.house
	h.Cache = must[*store.Cache](t)(store.NewCache(ctx, s))
	h.Policies = policies.New(s, h.Cache, time.Now)
	h.Namespaces = namespace.New(s, h.Cache, fakeKeys{}, namespace.Hooks{
		Claim:   func(tx *store.Tx, parent, path string) error { return h.Mounts.Claim(tx, parent, path) },
		Furnish: func(ctx context.Context, id string) error { return h.Mounts.Furnish(ctx, id) },
		Delete:  func(*store.Tx, string) error { return nil },
	}, time.Now)
	h.Tokens = token.New(token.Config{Store: s, Cache: h.Cache, Keys: fakeKeys{}, Namespaces: paths{h.Namespaces}, Now: time.Now})
	h.Identity = identity.New(identity.Config{Store: s, Cache: h.Cache, Now: time.Now,
		Mount: func(ctx context.Context, nsID, accessor string) (identity.Mount, bool, error) {
			table, err := h.Mounts.Table(ctx, nsID)
			if err != nil || table.ByAccessor(accessor) == nil {
				return identity.Mount{}, false, err
			}
			return identity.Mount{}, true, nil
		},
		Lineage: h.Namespaces.Lineage})
	h.MFA = mfa.New(mfa.Config{Store: s, Cache: h.Cache, Identity: h.Identity, Lineage: h.Namespaces.Lineage, Hash: fakeKeys{}.TokenHash,
		Types:    func() []string { return nil },
		Accessor: func(context.Context, string, string) (bool, error) { return true, nil }})
	h.Wrapping = wrapping.New(s, h.Tokens, "", h.Namespaces.Refusal)
	h.Settings = settings.New(s, h.Cache, nil)
	h.Mounts = mount.New(s, h.Cache, mount.Hooks{Taken: h.Namespaces.Taken, Delete: func(*store.Tx, string) error { return nil }}, mount.Limits{}, time.Now)
	h.Quotas = quota.New(quota.Config{Store: s, Cache: h.Cache, Mounts: h.Mounts, Namespaces: h.Namespaces, Now: f.clock})
	f.install()
	f.listen()
	router := must[*api.Router](t)(api.NewRouter(nil))
	f.gate = gate.New(router, func() bool { return true }, slog.New(slog.NewTextHandler(&f.log, nil)), f.clock)
	f.gate.Open(h)
	f.root = f.token(namespace.RootID, token.Spec{Root: true})
	t.Cleanup(func() {
		if err := errors.Join(f.devices.Close(), h.Cache.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// install mounts the engine at probe/ beside what every namespace has.
func (f *fixture) install() {
	t := f.t
	sys := slices.Concat(must[[]*api.Endpoint](t)(api.Bind(f.house, gate.Routes())), must[[]*api.Endpoint](t)(api.Bind(f.house.Quotas, quota.Routes())), must[[]*api.Endpoint](t)(api.Bind(f.house.MFA, mfa.SystemRoutes())))
	who := slices.Concat(must[[]*api.Endpoint](t)(api.Bind(f.house.Identity, identity.Routes())), must[[]*api.Endpoint](t)(api.Bind(f.house.MFA, mfa.Routes())))
	eps := must[[]*api.Endpoint](t)(api.Bind(f.engine, probeRoutes()))
	err := f.house.Mounts.Install([]api.Engine{
		{Type: "system", Endpoints: sys}, {Type: "token", Auth: true}, {Type: "cubbyhole"}, {Type: "identity", Endpoints: who}, {Type: "probe", Endpoints: eps},
		{Type: "lobby", Auth: true, Endpoints: must[[]*api.Endpoint](t)(api.Bind(f.engine, lobbyRoutes())), Renew: f.engine.lookAgain},
	})
	if err == nil {
		err = f.house.Mounts.Furnish(context.Background(), namespace.RootID)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.mount(namespace.RootID, "probe/")
}

func (f *fixture) mount(ns, path string) {
	f.t.Helper()
	if err := f.house.Mounts.Enable(context.Background(), ns, &mount.Entry{Path: path, Type: "probe"}); err != nil {
		f.t.Fatal(err)
	}
}

// listen opens the audit device.
func (f *fixture) listen() {
	d := []*audit.Declaration{{Path: "tap/", Type: "stdout", Options: map[string]string{}}}
	f.devices = audit.NewDevices(store.Sub(f.house.Data, "audit/"), audit.Env{Now: time.Now, Stdout: f.sink}, d, f.house.Audit)
	if err := f.devices.Start(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

// token issues a token in a namespace.
func (f *fixture) token(ns string, sp token.Spec) string {
	f.t.Helper()
	sp.Namespace, sp.Path = ns, "auth/probe"
	sp.Auth.NoDefaultPolicy = true
	return must[*api.Auth](f.t)(f.house.Tokens.Issue(context.Background(), sp)).ClientToken.Reveal()
}

// holder writes a policy and makes a token that holds it; change may alter the
// token's terms.
func (f *fixture) holder(ns, text string, change ...func(*api.Auth)) string {
	f.t.Helper()
	name := "p" + time.Now().Format("150405.000000000")
	if err := f.house.Policies.Write(context.Background(), ns, name, text, policies.Terms{}); err != nil {
		f.t.Fatal(err)
	}
	sp := token.Spec{Auth: api.Auth{TokenPolicies: []string{name}, TTL: time.Hour}}
	for _, c := range change {
		c(&sp.Auth)
	}
	return f.token(ns, sp)
}

// child makes a namespace with the engine mounted at probe/.
func (f *fixture) child(parent api.Namespace, name string) api.Namespace {
	f.t.Helper()
	n := must[*namespace.Namespace](f.t)(f.house.Namespaces.Create(context.Background(), parent, name, nil))
	f.mount(n.ID, "probe/")
	return n.API()
}

// request is a request from the loopback address.
func request(op api.Op, path, tok string) *gate.Request {
	return &gate.Request{ID: "00000000-0000-4000-8000-000000000000", Op: op, Path: path, Token: api.NewSecret(tok), Remote: netip.MustParseAddrPort("127.0.0.1:4000")}
}

func (f *fixture) do(op api.Op, path, tok string) *gate.Response {
	return f.gate.Serve(context.Background(), request(op, path, tok))
}

func (f *fixture) body(r *gate.Request, text string) *gate.Request {
	f.t.Helper()
	r.Body = must[api.Body](f.t)(api.ParseBody([]byte(text)))
	return r
}

// want fails the test unless the answer is of a kind of error; "" is success.
func want(t testing.TB, r *gate.Response, kind string) {
	t.Helper()
	got := ""
	if r.Err != nil {
		got = api.KindOf(r.Err).String()
	}
	if got != kind {
		t.Errorf("got %q (%v), want %q", got, r.Err, kind)
	}
	if r.Err != nil && (r.Data != nil || r.Raw != nil || r.Auth != nil) {
		t.Errorf("a failure carries an answer: %s", r.Data)
	}
}
