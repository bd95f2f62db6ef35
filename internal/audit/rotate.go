package audit

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// rotation says when a file is begun anew, and what becomes of the full ones.
// A full file is renamed, so that every entry is in one file or the next.
type rotation struct {
	bytes    int64         // longest file; 0: any
	age      time.Duration // from the first entry; 0: any
	most     int           // full files that are kept; 0: all
	keepFor  time.Duration // how long full files are kept; 0: for ever
	compress bool          // with gzip
}

const (
	// stampLayout is what a full file's name ends with: the time of its rotation, in UTC.
	stampLayout = "20060102T150405.000000000Z"
	gzipped     = ".gz"
	partial     = ".gz.part" // being compressed; worthless after a crash
	// rotationPause is how long after a failure no rotation is tried.
	rotationPause = time.Minute
	leastRotated  = 64 << 10 // bytes
	decade        = 10 * 365 * 24 * time.Hour
)

// rotation reads the options on it.
func (o *options) rotation() (r rotation, err error) {
	if r.bytes, err = o.size("rotate_bytes", leastRotated, 1<<40); err != nil {
		return r, err
	}
	if r.age, err = o.span("rotate_duration", decade); err != nil {
		return r, err
	}
	if r.most, err = o.count("rotate_max_files", 1, 1_000_000); err != nil {
		return r, err
	}
	if r.keepFor, err = o.span("rotate_max_age", decade); err != nil {
		return r, err
	}
	if r.compress, err = o.boolean("rotate_compress", true); err != nil {
		return r, err
	}
	if r.age > 0 && r.age < time.Minute {
		return r, invalid("rotate_duration", "must be at least a minute", "")
	}
	for _, name := range []string{"rotate_max_files", "rotate_max_age", "rotate_compress"} {
		if o.given[name] != "" && r.bytes == 0 && r.age == 0 {
			return r, invalid(name, "means nothing for a file that is not rotated", "give rotate_bytes or rotate_duration")
		}
	}
	return r, nil
}

// due reports whether the file is to be begun anew before more bytes are written.
func (o *fileOutput) due(now time.Time, more int64) bool {
	if o.size == 0 || now.Before(o.hold) {
		return false
	}
	return o.bytes > 0 && o.size+more > o.bytes || o.age > 0 && now.Sub(o.begun) >= o.age
}

// rotate renames the file and begins a new one. Where it cannot be renamed,
// entries go on being written to it.
func (o *fileOutput) rotate(now time.Time) error {
	if err := o.rename(now); err != nil {
		o.hold = now.Add(rotationPause)
		o.log.Error("the audit file cannot be rotated, and grows", slog.String("file", o.path()), slog.Any("error", err))
		return nil
	}
	if err := errors.Join(o.release(), o.begin()); err != nil {
		return err
	}
	o.tidy.begin(o.tidyUp)
	return nil
}

func (o *fileOutput) rename(now time.Time) (err error) {
	root, err := o.root()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	// Only this output gives such names, so that a name that is free stays so.
	for {
		to := o.name + "." + now.UTC().Format(stampLayout)
		_, plain := root.Lstat(to)
		_, packed := root.Lstat(to + gzipped)
		if errors.Is(plain, fs.ErrNotExist) && errors.Is(packed, fs.ErrNotExist) {
			return root.Rename(o.name, to)
		}
		if err := errors.Join(plain, packed); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		now = now.Add(1)
	}
}

// firstEntry is when a file's first entry was written, or when the file was last
// written to where that cannot be read.
func firstEntry(root *os.Root, name string, changed time.Time) time.Time {
	f, err := root.Open(name)
	if err != nil {
		return changed
	}
	head := make([]byte, maxPrefix+64)
	n, err := io.ReadFull(f, head)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if errors.Join(err, f.Close()) != nil {
		return changed
	}
	return entryTime(head[:n], changed)
}

// entryTime is the time in the beginning of an entry.
func entryTime(head []byte, otherwise time.Time) time.Time {
	_, after, found := bytes.Cut(head, []byte(`{"time":`))
	text, _, closed := bytes.Cut(after, []byte(`",`))
	var t time.Time
	if !found || !closed || json.Unmarshal(append(text, '"'), &t) != nil {
		return otherwise
	}
	return t
}

// tidier runs one piece of work in the background, again if it was asked for
// meanwhile.
type tidier struct {
	mu      sync.Mutex
	running bool
	again   bool
	ended   bool
	work    sync.WaitGroup
}

func (t *tidier) begin(work func(stop func() bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.again = true
	if t.running || t.ended {
		return
	}
	t.running = true
	t.work.Go(func() {
		for t.next() {
			work(t.stopped)
		}
	})
}

func (t *tidier) next() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = t.again && !t.ended
	t.again = false
	return t.running
}

func (t *tidier) stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

// end stops the work at its next step and waits for that.
func (t *tidier) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.work.Wait()
}

// full is a file that was rotated away.
type full struct {
	name    string // below the root
	at      time.Time
	packed  bool
	partial bool
}

// tidyUp compresses full files and removes those that are no longer kept.
func (o *fileOutput) tidyUp(stop func() bool) {
	root, err := o.root()
	if err == nil {
		err = errors.Join(o.tidyIn(root, stop), root.Close())
	}
	if err != nil && !errors.Is(err, errStopped) {
		o.log.Error("old audit files cannot be compressed or removed", slog.String("file", o.path()), slog.Any("error", err))
	}
}

func (o *fileOutput) tidyIn(root *os.Root, stop func() bool) error {
	all, err := fullFiles(root, o.name)
	if err != nil {
		return err
	}
	kept, old := o.sift(all)
	for _, f := range old {
		if err := root.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, f := range kept {
		if o.compress && !f.packed {
			if err := pack(root, f.name, o.mode, stop); err != nil {
				return err
			}
		}
	}
	return nil
}

// sift parts what is kept from what is to be removed: compressions that were cut
// short, files that were compressed, and those beyond number or age.
func (o *fileOutput) sift(all []full) (kept, old []full) {
	slices.SortFunc(all, func(a, b full) int { return b.at.Compare(a.at) })
	now := o.now()
	packed := map[time.Time]bool{}
	for _, f := range all {
		if f.packed {
			packed[f.at] = true
		}
	}
	for _, f := range all {
		switch {
		case f.partial, !f.packed && packed[f.at],
			o.most > 0 && len(kept) >= o.most,
			o.keepFor > 0 && now.Sub(f.at) > o.keepFor:
			old = append(old, f)
		default:
			kept = append(kept, f)
		}
	}
	return kept, old
}

// fullFiles are the files that were rotated away from name.
func fullFiles(root *os.Root, name string) ([]full, error) {
	dir, err := root.Open(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	entries, err := dir.ReadDir(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	var out []full
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), filepath.Base(name)+".")
		if f, ok := parseFull(rest); ours && ok && e.Type().IsRegular() {
			f.name = filepath.Join(filepath.Dir(name), e.Name())
			out = append(out, f)
		}
	}
	return out, nil
}

// parseFull reads what rotation has added to a file's name.
func parseFull(rest string) (f full, ok bool) {
	rest, f.partial = strings.CutSuffix(rest, partial)
	if !f.partial {
		rest, f.packed = strings.CutSuffix(rest, gzipped)
	}
	at, err := time.Parse(stampLayout, rest)
	f.at = at
	return f, err == nil && at.Format(stampLayout) == rest
}

var errStopped = errors.New("stopped")

// pack replaces a file by its compressed form, which is whole and on disk before
// the file goes.
func pack(root *os.Root, name string, mode fs.FileMode, stop func() bool) error {
	to, err := root.OpenFile(name+partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = squeeze(root, name, to, stop)
	if err := errors.Join(err, to.Close()); err != nil {
		return errors.Join(err, root.Remove(name+partial))
	}
	if err := root.Rename(name+partial, name+gzipped); err != nil {
		return err
	}
	return errors.Join(syncDir(root, filepath.Dir(name)), root.Remove(name))
}

func squeeze(root *os.Root, name string, to *os.File, stop func() bool) (err error) {
	from, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	z := gzip.NewWriter(to)
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := z.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return errors.Join(z.Close(), to.Sync())
		case err != nil:
			return err
		case stop():
			return errStopped
		}
	}
}
