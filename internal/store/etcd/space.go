package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// nearFull is the share of the quota, in percent, from which a database is near it.
const nearFull = 80

// Space is how much of its quota the fullest member's database takes.
type Space struct {
	Size  int64 // bytes of the file
	Used  int64 // bytes of it in use; the rest is free for writes, or to be defragmented
	Quota int64 // bytes at which etcd writes no more; 0: the member is too old to tell
	// Full says that etcd has raised its alarm and writes nothing.
	Full bool
	// Corrupt says that etcd has found that members differ.
	Corrupt bool
}

// Warning is what an operator must know, before writes fail where that can be told;
// empty: nothing.
func (sp Space) Warning() string {
	switch {
	case sp.Corrupt:
		return "etcd has found its members to differ: restore from a backup"
	case sp.Full:
		return "etcd's database has reached its quota: raise it, or remove data; then its alarm is to be disarmed, which members within the nodes do by themselves"
	case sp.Quota > 0 && sp.Size/nearFull >= sp.Quota/100:
		return fmt.Sprintf("etcd's database takes %d %% of the %d MiB of its quota: nothing is written once it is reached", sp.Size*100/sp.Quota, sp.Quota>>20)
	}
	return ""
}

// Space asks every member that can be reached how full it is.
func (s *Store) Space(ctx context.Context) (Space, error) {
	endpoints := s.client.Endpoints()
	if len(endpoints) == 0 {
		endpoints = []string{""} // the member in this process
	}
	var out Space
	var errs []error
	for _, e := range endpoints {
		status, err := s.status(ctx, e)
		if err != nil {
			errs = append(errs, s.translate(ctx, err))
			continue
		}
		out.add(status)
	}
	if len(errs) == len(endpoints) {
		return Space{}, errors.Join(errs...)
	}
	return out, nil
}

func (s *Store) status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	return s.client.Status(ctx, endpoint)
}

// add counts a member in.
func (sp *Space) add(m *clientv3.StatusResponse) {
	if m.DbSize > sp.Size {
		sp.Size, sp.Used, sp.Quota = m.DbSize, m.DbSizeInUse, m.DbSizeQuota
	}
	for _, e := range m.Errors {
		sp.Full = sp.Full || strings.Contains(e, "NOSPACE")
		sp.Corrupt = sp.Corrupt || strings.Contains(e, "CORRUPT")
	}
}
