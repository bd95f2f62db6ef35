package pebble

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/strongroom/strongroom/internal/store"
)

// meteredFS tells how much of its disk is free.
type meteredFS struct {
	vfs.FS
	free *atomic.Uint64
}

func (m meteredFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: m.free.Load(), TotalBytes: 1 << 40}, nil
}

// A store whose disk fills refuses writes in time, goes on reading, and writes
// again by itself once there is room. With the reserve switched off, the control,
// nothing is refused.
func TestNearlyFullDiskRefusesWritesAndHeals(t *testing.T) {
	for _, reserve := range []int64{0, -1} {
		free := &atomic.Uint64{}
		free.Store(1 << 30)
		s, err := Open("d", Options{FS: meteredFS{vfs.NewMem(), free}, ReserveBytes: reserve})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		set := func(v string) error {
			_, err := s.Commit(ctx, nil, []store.Write{{Key: "k", Value: []byte(v)}})
			return err
		}
		settle := func() error { // the disk is not looked at for each commit
			var err error
			for range groupsALook + 1 {
				err = errors.Join(err, ignoreFull(set("x")))
			}
			return err
		}
		if err := settle(); err != nil {
			t.Fatal(err)
		}
		free.Store(defaultReserveBytes - 1)
		if err := settle(); err != nil { // the group being gathered may have been begun before
			t.Fatal(err)
		}
		if err := set("y"); errors.Is(err, store.ErrFull) != (reserve == 0) {
			t.Fatalf("reserve %d: a write to a nearly full disk gave %v", reserve, err)
		}
		if e, err := s.Get(ctx, "k"); err != nil || !e.Exists() {
			t.Fatalf("reading from a nearly full disk gave %v", err)
		}
		free.Store(1 << 30)
		if err := settle(); err != nil {
			t.Fatal(err)
		}
		if err := set("z"); err != nil {
			t.Fatalf("a write after space was freed gave %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func ignoreFull(err error) error {
	if errors.Is(err, store.ErrFull) {
		return nil
	}
	return err
}
