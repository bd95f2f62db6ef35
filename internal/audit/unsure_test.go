package audit

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// idsOf adds the ids of whole entries to a set.
func idsOf(t *testing.T, lines []byte, into map[string]bool) {
	t.Helper()
	for line := range bytes.Lines(lines) {
		var e struct{ Request struct{ ID string } }
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v: %.100q", err, line)
		}
		into[e.Request.ID] = true
	}
}

// steadily logs ids until it is told to stop, and returns those that were not refused.
func steadily(t *testing.T, b *Broker, stop *atomic.Bool, first int) []string {
	var taken []string
	pace := time.NewTicker(200 * time.Microsecond)
	defer pace.Stop()
	for id := first; !stop.Load(); id++ {
		<-pace.C
		e := b.Entry()
		fill(e)
		e.Request.ID = strconv.Itoa(id)
		start := time.Now()
		if err := b.LogRequest(t.Context(), moment, e, nil); err == nil {
			taken = append(taken, e.Request.ID)
		} else if api.KindOf(err) != api.Unavailable {
			t.Error(err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("waited %v", d)
		}
		e.Release()
	}
	return taken
}

// disturbed has four writers log while something is done to the file, and
// returns what they were told is in the log.
func disturbed(t *testing.T, out output, disturb func()) []string {
	b := NewBroker()
	s := sinkOver("file/", out, format{key: testKey()})
	b.Replace([]*Sink{s}, nil)
	var stop atomic.Bool
	results := make(chan []string, 4)
	for i := range 4 {
		go func() { results <- steadily(t, b, &stop, i*1_000_000) }()
	}
	disturb()
	stop.Store(true)
	var taken []string
	for range 4 {
		taken = append(taken, <-results...)
	}
	must(t, s.line.close())
	return taken
}

func lostOf(taken []string, found map[string]bool) (lost int) {
	for _, id := range taken {
		if !found[id] {
			lost++
		}
	}
	return lost
}

// A file is deleted, replaced and moved away, again and again and under load
// (users.md F3). What it held when it went has gone with it, on purpose;
// everything else is in the file that follows. The control holds on to its file.
func TestDeletedFileUnderLoad(t *testing.T) {
	for _, control := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		var out output = fileIn(t, dir, "f")
		if control {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
			must(t, err)
			out = &streamOutput{w: f}
			defer func() { must(t, f.Close()) }()
		}
		found := map[string]bool{}
		taken := disturbed(t, out, func() {
			for i := range 9 {
				waitFor(t, func() bool { info, err := os.Stat(path); return err == nil && info.Size() > 20_000 || control && i > 0 })
				f, err := os.Open(path)
				if err != nil {
					break // the control's file is not begun anew
				}
				switch i % 3 {
				case 0:
					must(t, os.Remove(path))
				case 1:
					must(t, os.WriteFile(path+".new", nil, 0o600))
					must(t, os.Rename(path+".new", path))
				case 2:
					must(t, os.Rename(path, path+"."+strconv.Itoa(i)))
				}
				info, err := f.Stat()
				must(t, err)
				gone, err := io.ReadAll(io.LimitReader(f, info.Size()))
				must(t, err)
				idsOf(t, gone[:bytes.LastIndexByte(gone, '\n')+1], found)
				must(t, f.Close())
			}
		})
		files, err := filepath.Glob(path + "*")
		must(t, err)
		for _, f := range files {
			idsOf(t, []byte(read(t, f)), found)
		}
		if lost := lostOf(taken, found); (lost > 0) != control || !control && len(taken) < 100 {
			t.Errorf("control %v: %d of %d entries are lost", control, lost, len(taken))
		}
	}
}

// waitFor waits until something holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 20_000 {
		if holds() {
			return
		}
		<-tick.C
	}
	t.Error("it never came to that")
}

// No file can grow for a while, under load (users.md F1): requests are refused
// within a second, all that were not are in the log, and it heals by itself. The
// control is an output that hides the failure.
func TestFullDiskUnderLoad(t *testing.T) {
	for _, control := range []bool{false, true} {
		dir := t.TempDir()
		var out output = fileIn(t, dir, "f")
		if control {
			out = hiding{out}
		}
		path := filepath.Join(dir, "f")
		size := func() int64 {
			info, err := os.Stat(path)
			if err != nil {
				return 0
			}
			return info.Size()
		}
		taken := disturbed(t, out, func() {
			limited(t, 40_000, func() {
				waitFor(t, func() bool { return size() > 38_000 })
				for range 3 { // for a while
					before := time.Now()
					waitFor(t, func() bool { return time.Since(before) > 20*time.Millisecond })
				}
			})
			waitFor(t, func() bool { return size() > 80_000 })
		})
		found := map[string]bool{}
		idsOf(t, []byte(read(t, path)), found)
		if lost := lostOf(taken, found); (lost > 0) != control || len(taken) < 40 {
			t.Errorf("control %v: %d of %d entries are lost", control, lost, len(taken))
		}
	}
}

// hiding is an output that does not tell of failures.
type hiding struct{ output }

func (h hiding) write(lines []byte) error {
	if err := h.output.write(lines); err != nil {
		return nil
	}
	return nil
}

// An idle server notices at most a second after the file was moved away, once
// something is written.
func TestMovedFileIsBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		out := fileIn(t, dir, "f")
		must(t, out.write([]byte("one\n")))
		time.Sleep(2 * sureWithin)
		must(t, os.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "old")))
		time.Sleep(lookEvery)
		must(t, out.write([]byte("two\n")))
		time.Sleep(2 * sureWithin)
		must(t, out.write([]byte("three\n")))
		if got := read(t, filepath.Join(dir, "old")) + "|" + read(t, filepath.Join(dir, "f")); got != "one\ntwo\n|three\n" {
			t.Errorf("%q", got)
		}
		must(t, out.close())
	})
}

// What went with a deleted file is written again though nothing else comes, and
// however long it takes until the file can be begun.
func TestDeletedFileIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "d")
		must(t, os.Mkdir(dir, 0o700))
		out := fileIn(t, dir, "f")
		must(t, out.write([]byte("one\n")))
		must(t, os.RemoveAll(dir))
		time.Sleep(10 * time.Second)
		if err := out.write([]byte("refused\n")); err == nil {
			t.Error("written to nowhere")
		}
		must(t, os.Mkdir(dir, 0o700))
		time.Sleep(2 * sureWithin)
		if got := read(t, filepath.Join(dir, "f")); got != "one\n" {
			t.Errorf("%q", got)
		}
		// With sync, a request is answered only once its file has a name.
		out.mu.Lock()
		out.sync = true
		out.mu.Unlock()
		must(t, os.Remove(filepath.Join(dir, "f")))
		must(t, out.write([]byte("two\n")))
		if got := read(t, filepath.Join(dir, "f")); !strings.HasSuffix(got, "two\n") {
			t.Errorf("%q", got)
		}
		must(t, out.close())
	})
}
