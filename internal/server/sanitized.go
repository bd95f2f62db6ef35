package server

import (
	"time"

	"github.com/strongroom/strongroom/internal/introspect"
	"github.com/strongroom/strongroom/internal/seal"
)

// node tells of this server.
func (s *Server) node(h *house) *introspect.Node {
	n := &introspect.Node{Store: s.barrier, Namespaces: h.Namespaces, Mounts: h.Mounts, Version: Version, Config: s.sanitized,
		Reload: map[string]func() error{"tls": s.reloadCertificates, "audit": s.Reopen}}
	if s.config != nil { // else it is described, not run
		n.InFlight, n.Tokens, n.Entities, n.ClusterID, n.Dirs = s.gate.InFlight, h.Tokens.Count, h.Identity.Count, s.barrier.ClusterID, []string{s.config.DataDir}
	}
	return n
}

// reloadCertificates reads the certificates of the listeners anew. A server whose
// listener is not its own has none.
func (s *Server) reloadCertificates() error {
	if ls := s.listeners.Load(); ls != nil {
		return ls.Reload()
	}
	return nil
}

// sanitized is the configuration without what is secret.
func (s *Server) sanitized() *introspect.Config {
	c := s.config
	out := &introspect.Config{APIAddress: c.APIAddress, ClusterName: c.clusterName(), DefaultTTL: seconds(c.DefaultTTL), MaxTTL: seconds(c.MaxTTL),
		LogFormat: c.LogFormat, LogLevel: c.LogLevel, PIDFile: c.PIDFile, RawStorage: c.RawStorage, Introspection: true, DisableClustering: true,
		Storage: introspect.Storage{Type: c.storageType(), DisableClustering: true}, Seals: []introspect.Seal{{Type: seal.KindShamir}},
		Listeners: []introspect.Listener{}, AuditDirectories: c.AuditDirs, AuditRaw: c.RawAudit}
	if c.LocalSlot {
		out.Seals[0].Type = seal.KindFile
	}
	for _, l := range c.Listeners {
		out.Listeners = append(out.Listeners, introspect.Listener{Type: l.kind(), Config: introspect.ListenerConfig{Address: l.Address,
			TLSDisable: l.CertFile == "", CertFile: l.CertFile, KeyFile: l.KeyFile, ClientCA: l.ClientCA, RequireClient: l.RequireClient}})
	}
	return out
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
