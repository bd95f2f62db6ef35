package wrapping_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
	"github.com/strongroom/strongroom/internal/token"
	"github.com/strongroom/strongroom/internal/wrapping"
)

// world is wrapped answers over a real barrier, with a clock that synctest moves.
type world struct {
	t      testing.TB
	phys   store.Store
	bar    *barrier.Barrier
	cache  *store.Cache
	tokens *token.Store
	s      *wrapping.Store
}

// keys are the server's keys of tokens.
type keys struct{ *barrier.Barrier }

func (k keys) TokenHash(ctx context.Context, nsID, text string) (string, error) {
	key, err := k.PurposeKey(ctx, nsID, barrier.TokenHash)
	if err != nil {
		return "", err
	}
	out, err := key.HMAC(nil, []byte(text))
	return hex.EncodeToString(out), err
}

func (keys) SealBatch(context.Context, string, []byte) ([]byte, error) { return nil, token.ErrBatch }
func (keys) OpenBatch(context.Context, string, []byte) ([]byte, error) { return nil, token.ErrBatch }

// namespaces are root and team.
type namespaces struct{}

func (namespaces) Path(_ context.Context, id string) (string, bool, error) {
	return "team/", id == "team", nil
}

// each runs a test in a bubble with its own clock.
func each(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, newWorld(t, mem.Open())) })
}

func newWorld(t testing.TB, phys store.Store) *world {
	t.Helper()
	w := &world{t: t, phys: phys, bar: barrier.New(phys, time.Now)}
	root := make([]byte, barrier.KeyBytes)
	done, err := w.bar.Initialized(t.Context())
	w.must(err)
	if !done {
		w.must(w.bar.Initialize(t.Context(), root, nil))
	}
	w.must(w.bar.Unseal(t.Context(), root))
	if !done {
		w.must(errors.Join(w.bar.AddNamespace(t.Context(), token.RootNamespace), w.bar.AddNamespace(t.Context(), "team")))
	}
	w.cache, err = store.NewCache(context.Background(), w.bar)
	w.must(err)
	w.tokens = token.New(token.Config{Store: w.bar, Cache: w.cache, Keys: keys{w.bar}, Namespaces: namespaces{}, Now: time.Now,
		OnRevoke: []func(context.Context, string, string) error{func(ctx context.Context, ns, id string) error { return w.s.Erase(ctx, ns, id) }}})
	w.s = wrapping.New(w.bar, w.tokens, address, func(context.Context, string) error { return nil })
	t.Cleanup(func() { w.must(errors.Join(w.cache.Close(), w.bar.Seal())) })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// call is a request in a namespace as the gate hands it on.
func (w *world) call(nsID string, presented api.Secret, ttl time.Duration) *api.Call {
	if _, err := w.cache.Fresh(context.Background()); err != nil {
		w.t.Error(err)
	}
	return &api.Call{Context: context.Background(), Now: time.Now(), Namespace: api.Namespace{ID: nsID}, WrapTTL: ttl, Caller: api.Caller{Token: presented}}
}

func (w *world) wrap(a *api.Answer, ttl time.Duration) *api.WrapInfo {
	w.t.Helper()
	info, err := w.s.Wrap(w.call(token.RootNamespace, api.Secret{}, ttl), "secret/data/app", a)
	w.must(err)
	return info
}

// unwrap takes an answer out, by the token in the request or as the caller's.
func (w *world) unwrap(text api.Secret, presented bool) (*api.Answer, error) {
	if presented {
		return w.s.Unwrap(w.call(token.RootNamespace, text, 0), &wrapping.TokenRequest{})
	}
	return w.s.Unwrap(w.call(token.RootNamespace, api.Secret{}, 0), &wrapping.TokenRequest{Token: text})
}

const refusal = "wrapping token is not valid or does not exist"

func (w *world) refuses(err error) {
	w.t.Helper()
	if api.KindOf(err) != api.Invalid || err.Error() != refusal {
		w.t.Fatalf("got error %v; want %q", err, refusal)
	}
}

// ids are the last parts of the keys below a prefix in all namespaces.
func (w *world) ids(part string) map[string]bool {
	w.t.Helper()
	out := map[string]bool{}
	for _, k := range w.rows() {
		if _, id, ok := strings.Cut(k, part); ok {
			out[id] = true
		}
	}
	return out
}

// rows are the keys of everything that tokens and answers left.
func (w *world) rows() []string {
	w.t.Helper()
	var out []string
	for _, ns := range []string{token.RootNamespace, "team"} {
		es, err := w.bar.List(w.t.Context(), store.Prefix(ns+"/"))
		w.must(err)
		for _, e := range es {
			out = append(out, e.Key)
		}
	}
	return out
}

// paired fails unless each answer has its token and each token its answer.
func (w *world) paired() {
	w.t.Helper()
	answers, tokens := w.ids("/wrapping/"), w.ids("/token/id/")
	if !maps.Equal(answers, tokens) {
		w.t.Fatalf("answers %v, tokens %v", slices.Collect(maps.Keys(answers)), slices.Collect(maps.Keys(tokens)))
	}
}

// later runs scheduled work for a while.
func (w *world) later(d time.Duration) {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &schedule.Runner{Store: w.bar, Now: time.Now, Handlers: w.tokens.Jobs(), Failed: func(it schedule.Item, err error) {
		w.t.Errorf("%s: %v", it.Kind, err)
	}}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	time.Sleep(d)
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		w.t.Error(err)
	}
}

// nothing fails unless no trace of a wrapped answer is left.
func (w *world) nothing() {
	w.t.Helper()
	for _, k := range w.rows() {
		if strings.Contains(k, "/wrapping/") || strings.Contains(k, "/token/") || strings.Contains(k, "/due/") {
			w.t.Fatalf("%s is left", k)
		}
	}
}

func small(i int) *api.Answer { return &api.Answer{Data: fmt.Appendf(nil, `{"n":%d}`, i)} }
