package gate_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/policies"
)

// mayStream is a policy for the stream alone.
const mayStream = `path "probe/stream" { capabilities = ["read"] }`

func TestStreamBeginsOnceItsAnswerIsWrittenDown(t *testing.T) {
	f := newFixture(t)
	resp := f.do(api.Read, "probe/stream", f.root)
	want(t, resp, "")
	if n := f.engine.calls.Load(); n != 0 || resp.Raw == nil || resp.Raw.Stream == nil {
		t.Fatalf("the stream has begun %d times before the door had it; answer %+v", n, resp.Raw)
	}
	f.sink.breakOn("response")
	if resp := f.do(api.Read, "probe/stream", f.root); resp.Raw != nil || resp.Err == nil {
		t.Errorf("a stream that could not be written down is handed out: %+v", resp.Raw)
	}
}

func TestStreamCannotBeWrapped(t *testing.T) {
	f := newFixture(t)
	r := request(api.Read, "probe/stream", f.root)
	r.WrapTTL = time.Minute
	want(t, f.gate.Serve(t.Context(), r), "invalid")
}

// begun is a stream that has written its first part, and how to learn that it
// has ended.
func (f *fixture) begun(tok string) (ended <-chan error) {
	f.t.Helper()
	resp := f.do(api.Read, "probe/stream", tok)
	want(f.t, resp, "")
	done, wrote := make(chan error, 1), make(chan struct{})
	go func() {
		done <- resp.Raw.Stream(context.Background(), writerFunc(func(p []byte) (int, error) {
			close(wrote)
			return len(p), nil
		}))
	}()
	<-wrote
	return done
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestStreamEndsWithWhatAllowedIt(t *testing.T) {
	const mayStillStream = `path "probe/stream" { capabilities = ["read"] condition = "token.type == 'service'" }`
	for what, end := range map[string]func(*fixture, string){
		"its condition is met no more": func(f *fixture, _ string) {
			f.rewrite(strings.ReplaceAll(mayStillStream, "service", "batch"))
		},
		"the token is revoked": func(f *fixture, tok string) {
			found, err := f.house.Tokens.Lookup(t.Context(), tok, time.Now())
			if err == nil {
				err = f.house.Tokens.Revoke(t.Context(), found.NamespaceID, found.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"the policy has changed": func(f *fixture, _ string) {
			f.rewrite(strings.ReplaceAll(mayStream, "stream", "else"))
		},
		"the server is sealed": func(f *fixture, _ string) { f.gate.Open(nil) },
		"the server ends":      func(f *fixture, _ string) { f.gate.EndStreams() },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			tok := f.holder(namespace.RootID, mayStillStream)
			ended := f.begun(tok)
			select {
			case <-ended:
				t.Fatal("it ended though nothing has happened")
			case <-time.After(3 * time.Second / 2):
			}
			end(f, tok)
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the stream goes on")
			}
		})
	}
}

// rewrite gives all policies that holder made another text.
func (f *fixture) rewrite(text string) {
	f.t.Helper()
	names, err := f.house.Policies.Names(context.Background(), namespace.RootID)
	for _, n := range names {
		if err == nil && strings.HasPrefix(n, "p") {
			err = f.house.Policies.Write(context.Background(), namespace.RootID, n, text, policies.Terms{})
		}
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestInFlight(t *testing.T) {
	f := newFixture(t)
	var seen []gate.Underway
	f.engine.read = func(c *api.Call) (*answer, error) {
		seen = f.gate.InFlight()
		return &answer{}, nil
	}
	want(t, f.do(api.Read, "probe/thing/"+f.root, f.root), "")
	if len(seen) != 1 || seen[0].Op != api.Read || seen[0].ID == "" || seen[0].Start.IsZero() || !seen[0].Remote.IsValid() {
		t.Fatalf("in flight: %+v", seen)
	}
	if seen[0].Path != "probe/thing/[token]" {
		t.Errorf("the path is told as %q", seen[0].Path)
	}
	if left := f.gate.InFlight(); len(left) != 0 {
		t.Errorf("still in flight: %+v", left)
	}
}

func TestInFlightOutOfOrder(t *testing.T) {
	f := newFixture(t)
	hold := map[byte]chan struct{}{'a': make(chan struct{}), 'b': make(chan struct{}), 'c': make(chan struct{})}
	entered := make(chan struct{})
	f.engine.read = func(c *api.Call) (*answer, error) {
		entered <- struct{}{}
		<-hold[c.Path[len(c.Path)-1]]
		return &answer{}, nil
	}
	done := make(chan struct{})
	for _, name := range []string{"a", "b", "c"} {
		go func() {
			f.do(api.Read, "probe/thing/"+name, f.root)
			done <- struct{}{}
		}()
		<-entered
	}
	for i, name := range []byte("bac") {
		if n := len(f.gate.InFlight()); n != 3-i {
			t.Fatalf("%d in flight, want %d", n, 3-i)
		}
		close(hold[name])
		<-done
		for _, u := range f.gate.InFlight() {
			if bytes.HasSuffix([]byte(u.Path), []byte{name}) {
				t.Errorf("%c is still in flight", name)
			}
		}
	}
}
