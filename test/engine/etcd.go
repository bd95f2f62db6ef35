package engine

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/strongroom/strongroom/test/process"
)

// electedWithin bounds the start of an etcd.
const electedWithin = 60 * time.Second

// startEtcd runs an etcd of one member in this process, which servers reach over the loopback interface.
func (e *Engine) startEtcd(synced bool) error {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		return err
	}
	c := embed.NewConfig()
	c.Dir, c.Name, c.MaxTxnOps = dir, "one", 128
	c.TickMs, c.ElectionMs, c.UnsafeNoFsync = 10, 100, !synced
	peers, errP := freeURL()
	clients, errC := freeURL()
	if err := errors.Join(errP, errC); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	c.ListenPeerUrls, c.AdvertisePeerUrls, c.ListenClientUrls, c.AdvertiseClientUrls = peers, peers, clients, clients
	c.InitialCluster = "one=" + peers[0].String()
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(c)
	if err != nil {
		return errors.Join(fmt.Errorf("starting etcd: %w", err), os.RemoveAll(dir))
	}
	e.close = func() error {
		server.Close()
		return os.RemoveAll(dir)
	}
	e.text = Template(fmt.Sprintf("storage \"etcd\" {\n  endpoints = [%q]\n  prefix = \"NAME/\"\n}", clients[0].String()))
	select {
	case <-server.Server.ReadyNotify():
		return nil
	case <-time.After(electedWithin):
		return errors.Join(fmt.Errorf("etcd did not start within %v", electedWithin), e.close())
	}
}

func freeURL() ([]url.URL, error) {
	addr, err := process.FreeAddr()
	return []url.URL{{Scheme: "http", Host: addr}}, err
}
