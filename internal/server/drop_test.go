package server

import (
	"testing"

	"github.com/strongroom/strongroom/internal/schedule"
)

// A damaged job must not take more with it than the mount that it was for.
func TestDropOfAMountNamesAMount(t *testing.T) {
	w := startFor(t, Config{DataDir: t.TempDir(), LocalSlot: true})
	root := w.printed()
	w.wants(204, "", root, "POST", "sys/mounts/kv", `{"type":"kv"}`)
	w.wants(204, "", root, "POST", "kv/a", `{"v":"1"}`)
	drop := w.jobs(w.current())[jobDropMount]
	run := func(prefix string) error {
		return drop(t.Context(), &schedule.Job{Item: schedule.Item{Data: []byte(prefix)}})
	}
	for _, prefix := range []string{"", "/", "root", "root/", "root/m", "root/m/", "root/m//", "root/ns/", "root/mount/at/"} {
		if err := run(prefix); err == nil {
			t.Errorf("%q: done", prefix)
		}
	}
	w.wants(200, `"v":"1"`, root, "GET", "kv/a", "")
	prefix := w.mountOf(t, "kv/")
	if err := run(prefix); err != nil {
		t.Fatal(err)
	}
	w.wants(404, "", root, "GET", "kv/a", "")
}

// mountOf is where a mount of the root namespace keeps its data.
func (w *world) mountOf(t *testing.T, path string) string {
	t.Helper()
	table, err := w.current().Mounts.Table(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	return table.Get(path).Prefix("root")
}
