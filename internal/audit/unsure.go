package audit

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// unsure is what was written to a file since it was last seen to have a name. A
// file that was deleted still takes entries and keeps none. To ask at each write
// would cost a system call for each request, so entries are remembered until it
// was asked, shortly after, and written again if the file is gone.
type unsure struct {
	lines []byte      // written, and not known to be kept
	again []byte      // known to be lost with their file
	timer *time.Timer // nil: never needed yet
	armed bool        // the timer runs
	ended bool        // the output is closed
	stat  syscall.Stat_t
	look  time.Time // when to see next whether the path still leads to the file
	told  bool      // it was logged that again cannot be written
}

const (
	sureWithin = 50 * time.Millisecond // longest time that entries are remembered
	maxUnsure  = 64 << 10              // bytes that are remembered before it is asked at once
	// lookEvery is how often a file's path is looked up, to see whether the file was
	// moved away: what is written to it is not lost meanwhile.
	lookEvery = time.Second
)

var errDeleted = errors.New("its file is deleted again and again")

// keep remembers lines that were written.
func (o *fileOutput) keep(lines []byte) error {
	u := &o.unsure
	u.lines = append(u.lines, lines...)
	if o.sync || len(u.lines) > maxUnsure {
		return o.makeSure()
	}
	if !u.armed {
		u.arm(o.onTimer)
	}
	return nil
}

func (u *unsure) arm(fn func()) {
	u.armed = true
	if u.timer == nil {
		u.timer = time.AfterFunc(sureWithin, fn)
		return
	}
	u.timer.Reset(sureWithin)
}

func (u *unsure) stop() {
	if u.timer != nil {
		u.timer.Stop()
	}
	u.ended = true
}

// sure asks whether the open file has a name; what was written is lost if not.
func (o *fileOutput) sure() bool {
	u := &o.unsure
	kept := syscall.Fstat(o.fd, &u.stat) != nil || u.stat.Nlink > 0
	if !kept {
		u.again = append(u.again, u.lines...)
	}
	u.lines = u.lines[:0]
	if cap(u.lines) > 2*maxUnsure {
		u.lines = nil
	}
	return kept
}

// makeSure has what was written in a file that has a name.
func (o *fileOutput) makeSure() error {
	for range 2 {
		if o.sure() {
			return nil
		}
		o.log.Error("the audit file was deleted; it is begun anew", slog.String("file", o.path()))
		if err := errors.Join(o.release(), o.begin()); err != nil {
			return err
		}
	}
	return errDeleted
}

// repeat writes to a file that was just opened what was lost with the one before.
func (o *fileOutput) repeat() error {
	u := &o.unsure
	if len(u.again) == 0 {
		return nil
	}
	if err := o.append(u.again); err != nil {
		return errors.Join(err, o.release())
	}
	u.lines = append(u.lines, u.again...)
	u.again, u.told = nil, false
	return nil
}

// onTimer asks about what was written of late. It asks again as long as there is
// something that cannot be written.
func (o *fileOutput) onTimer() {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := &o.unsure
	if u.ended {
		return
	}
	u.armed = false
	err := o.settle()
	if len(u.again) == 0 {
		return
	}
	u.arm(o.onTimer)
	if !u.told && err != nil {
		u.told = true
		o.log.Error("entries of a deleted audit file wait to be written again", slog.String("file", o.path()), slog.Any("error", err))
	}
}

// settle makes sure of what was written, and begins a file that was moved away
// anew.
func (o *fileOutput) settle() error {
	if o.file == nil {
		return o.begin()
	}
	if err := o.makeSure(); err != nil {
		return err
	}
	if !o.moved(o.now()) {
		return nil
	}
	o.log.Warn("the audit file was moved away; it is begun anew", slog.String("file", o.path()))
	return errors.Join(o.release(), o.begin())
}

// moved reports whether the path leads elsewhere than to the open file. A path
// that cannot be looked up is no reason to stop writing.
func (o *fileOutput) moved(now time.Time) bool {
	if now.Before(o.unsure.look) {
		return false
	}
	o.unsure.look = now.Add(lookEvery)
	named, err := os.Lstat(o.path())
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	info, err := o.file.Stat()
	return err == nil && !os.SameFile(info, named)
}
