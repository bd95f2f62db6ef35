package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// homeless is a device whose peer is away and whose spool holds 50 entries.
func homeless(t *testing.T, c *collector, options map[string]string) (*Sink, *Broker) {
	c.stop()
	options["deadline"] = "10s" // of a busy disk; nothing here waits for the peer
	s := openSocket(t, options)
	s.line.out.(*spooled).draining = 0
	b := NewBroker()
	b.Replace([]*Sink{s}, nil)
	if refused := logged(t, b, 0, 50); refused > 0 {
		t.Fatalf("%d refused", refused)
	}
	return s, b
}

// A spool that is deleted or moved away loses nothing: neither what it held, nor
// what is written afterwards, whether something is or not.
func TestSpoolThatGoesAwayIsBegunAnew(t *testing.T) {
	for name, takeAway := range map[string]func(path string) error{
		"deleted": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
	} {
		for _, total := range []int{50, 100} {
			t.Run(name, func(t *testing.T) {
				c := newCollector(t)
				options := spoolOptions(t.TempDir(), c.addr)
				s, b := homeless(t, c, options)
				must(t, takeAway(options["spool_path"]))
				if refused := logged(t, b, 50, total); refused > 0 {
					t.Errorf("%d refused", refused)
				}
				waitFor(t, func() bool { _, err := os.Lstat(options["spool_path"]); return err == nil })
				must(t, s.line.close())
				c.start()
				s = openSocket(t, options)
				must(t, s.line.out.ready())
				c.arrived(total)
				must(t, s.line.close())
			})
		}
	}
}

// While the spool cannot be begun anew, nothing counts as written.
func TestSpoolWhosePlaceIsTakenRefuses(t *testing.T) {
	c := newCollector(t)
	options := spoolOptions(t.TempDir(), c.addr)
	s, b := homeless(t, c, options)
	path := options["spool_path"]
	link := path + ".link" // takes the place at once: the device looks for a way back all the time
	must(t, os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), link))
	must(t, os.Rename(link, path))
	err := b.LogRequest(t.Context(), moment, b.Entry(), nil)
	if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), errSpoolGone.Error()) {
		t.Error(err)
	}
	must(t, os.Remove(path))
	if refused := logged(t, b, 50, 60); refused > 0 {
		t.Errorf("%d refused", refused)
	}
	c.start()
	c.arrived(60)
	must(t, s.line.close())
}
