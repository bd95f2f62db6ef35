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

// maintain sees to the database until the member is closed.
func (m *Member) maintain() {
	t := time.NewTicker(m.cfg.Maintain)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			if err := m.maintainOnce(m.open, now); err != nil && m.open.Err() == nil {
				m.cfg.Logger.Warn("etcd's database was not seen to", "error", err)
			}
		case <-m.open.Done():
			return
		}
	}
}

// maintainOnce gives free space back when it is this member's turn, and takes the
// alarm back once there is room.
func (m *Member) maintainOnce(ctx context.Context, now time.Time) error {
	status, err := m.client.Status(ctx, "")
	if err != nil {
		return err
	}
	mine, err := m.turn(ctx, now)
	if err != nil {
		return err
	}
	if mine && fragmented(status.DbSize, status.DbSizeInUse, m.cfg.QuotaBytes) {
		m.cfg.Logger.Info("etcd's database is defragmented", "bytes", status.DbSize, "used", status.DbSizeInUse)
		// etcd's client in this process would call what it was not given.
		if err := m.etcd.Server.Backend().Defrag(); err != nil {
			return err
		}
		if status, err = m.client.Status(ctx, ""); err != nil {
			return err
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
func (m *Member) turn(ctx context.Context, now time.Time) (bool, error) {
	all, err := m.Members(ctx)
	if err != nil {
		return false, err
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	i := slices.IndexFunc(all, func(i Info) bool { return i.ID == uint64(m.etcd.Server.MemberID()) })
	return i == slot(now, m.cfg.Maintain, len(all)), nil
}

// slot is which of n members has its turn.
func slot(now time.Time, every time.Duration, n int) int {
	return int(now.UnixNano() / int64(every) % int64(n))
}

// disarm takes back this member's alarm that there is no space, once there is.
func (m *Member) disarm(ctx context.Context, s *clientv3.StatusResponse) error {
	if s.DbSize/roomForWrite >= m.cfg.QuotaBytes/100 {
		return nil
	}
	alarms, err := m.client.AlarmList(ctx)
	if err != nil {
		return err
	}
	for _, a := range alarms.Alarms {
		if a.Alarm != pb.AlarmType_NOSPACE || a.MemberID != uint64(m.etcd.Server.MemberID()) {
			continue
		}
		if _, err := m.client.AlarmDisarm(ctx, (*clientv3.AlarmMember)(a)); err != nil {
			return err
		}
		m.cfg.Logger.Info("etcd has room again and writes")
	}
	return nil
}
