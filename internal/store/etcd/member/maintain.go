package member

import (
	"cmp"
	"context"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// When the database is worth defragmenting, which holds the member up meanwhile.
const (
	muchFree     = 64 << 20 // bytes
	quotaShare   = 8        // with a small quota, one in so many of its bytes is much
	freeShare    = 2        // and one in so many bytes of the file must be free
	roomForWrite = 80       // percent of the quota below which the alarm is taken back
)

// urgent is how often the database is looked at while nothing can be written to it, and
// how soon after a start: the quota may have been raised for it.
const urgent = 10 * time.Second

// maintain sees to the database until the member is closed.
func (m *Member) maintain() {
	hurry := min(urgent, m.cfg.Maintain)
	every, failed := hurry, false
	for {
		select {
		case now := <-time.After(every):
			full, err := m.maintainOnce(m.open, now, every)
			if err != nil && !failed && m.open.Err() == nil {
				m.cfg.Logger.Warn("etcd's database was not seen to", "error", err)
			}
			if failed = err != nil; failed || full {
				every = hurry
			} else {
				every = m.cfg.Maintain
			}
		case <-m.open.Done():
			return
		}
	}
}

// maintainOnce gives free space back when it is this member's turn, of turns that last so
// long, and takes the alarm back once there is room. It reports whether an alarm is left.
func (m *Member) maintainOnce(ctx context.Context, now time.Time, every time.Duration) (full bool, err error) {
	status, err := m.client.Status(ctx, "")
	if err != nil {
		return false, err
	}
	mine, err := m.turn(ctx, now, every)
	if err != nil {
		return false, err
	}
	if mine && fragmented(status.DbSize, status.DbSizeInUse, m.cfg.QuotaBytes) {
		m.cfg.Logger.Info("etcd's database is defragmented", "bytes", status.DbSize, "used", status.DbSizeInUse)
		// etcd's client in this process would call what it was not given.
		if err := m.etcd.Server.Backend().Defrag(); err != nil {
			return false, err
		}
		if status, err = m.client.Status(ctx, ""); err != nil {
			return false, err
		}
	}
	return m.disarm(ctx, status)
}

func fragmented(size, used, quota int64) bool {
	free := size - used
	return free >= min(muchFree, quota/quotaShare) && free >= size/freeShare
}

// turn reports whether a time is this member's: they take turns by the clock, since
// a claim could not be written when it is needed most, when the database is full.
func (m *Member) turn(ctx context.Context, now time.Time, every time.Duration) (bool, error) {
	all, err := m.Members(ctx)
	if err != nil {
		return false, err
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	i := slices.IndexFunc(all, func(i Info) bool { return i.ID == uint64(m.etcd.Server.MemberID()) })
	return i == slot(now, every, len(all)), nil
}

// slot is which of n members has its turn.
func slot(now time.Time, every time.Duration, n int) int {
	return int(now.UnixNano() / int64(every) % int64(n))
}

// disarm takes back this member's alarm that there is no space, once there is, and those of
// members that are none any more. It reports whether any is left.
func (m *Member) disarm(ctx context.Context, s *clientv3.StatusResponse) (full bool, err error) {
	alarms, err := m.client.AlarmList(ctx)
	if err != nil || len(alarms.Alarms) == 0 {
		return false, err
	}
	all, err := m.Members(ctx)
	if err != nil {
		return false, err
	}
	room := s.DbSize/roomForWrite < m.cfg.QuotaBytes/100
	for _, a := range alarms.Alarms {
		left := !slices.ContainsFunc(all, func(i Info) bool { return i.ID == a.MemberID }) // of a member that was removed
		switch {
		case a.Alarm != pb.AlarmType_NOSPACE:
			continue
		case !left && (!room || a.MemberID != uint64(m.etcd.Server.MemberID())):
			full = true
			continue
		}
		if _, err := m.client.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a)); err != nil {
			return false, err
		}
		m.cfg.Logger.Info("etcd has room again and writes")
	}
	return full, nil
}
