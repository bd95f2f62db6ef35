package member

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestRemovedSaysSo: a member that is none any more says what to do, when it is taken out while it runs and when it is started
// on what it had.
func TestRemovedSaysSo(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.start("a", "b", "c")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := f.members["c"]
	if err := f.members["a"].Remove(ctx, f.id("c")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Failed():
	case <-ctx.Done():
		t.Fatal("a member that was removed goes on")
	}
	want := func(when string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "was removed from the cluster") || !strings.Contains(err.Error(), "empty "+f.of("c").Dir) ||
			!strings.Contains(err.Error(), "storage add "+f.config.Members[2].URL) {
			t.Errorf("%s it says %v", when, err)
		}
	}
	want("removed while it ran,", c.Ended(ctx))
	f.close("c")
	want("started again,", f.tryStart(ctx, "c"))
	if err := f.members["a"].Add(ctx, f.config.Members[2].URL); err != nil {
		t.Fatal(err)
	}
	want("added anew, with what it had,", f.tryStart(ctx, "c"))
}

// TestAllMoveAtOnce: members whose URLs have all changed say why they wait, and name where the cluster knows them.
func TestAllMoveAtOnce(t *testing.T) {
	f := newFleet(t, "a", "b", "c")
	f.start("a", "b", "c")
	old := f.config.Members[0].URL
	for i, n := range []string{"a", "b", "c"} {
		f.close(n)
		f.config.Members[i].URL = "http://" + freeAddr(t)
	}
	var log bytes.Buffer
	f.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 3*lookEvery)
	defer cancel()
	if err := f.tryStart(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("it ends with %v", err)
	}
	for _, text := range []string{"knows this member at " + old, "one member after another", "waiting for members b, c"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log does not say %q: %s", text, log.String())
		}
	}
}
