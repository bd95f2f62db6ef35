package server

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// flushTime is how long traces that have not been sent may keep a server that ends.
const flushTime = 5 * time.Second

// metricsPath is where metrics are read.
const metricsPath = "/v1/sys/metrics"

// measure begins to count and, where that is configured, to trace.
func (s *Server) measure(ctx context.Context) error {
	s.meter = telemetry.New(telemetry.Source{Unsealed: func() bool { return s.current() != nil }, Cache: s.cacheMisses,
		Devices: s.deviceHealth, Expiry: s.expiries, Damaged: s.damagedRows}, s.now)
	if level, ok := requestLevel(s.config.LogRequests); ok {
		s.meter.LogRequests(s.log, level)
	}
	s.phys = s.meter.Store(s.phys)
	t := s.config.Telemetry
	if t.Endpoint == "" && !t.Environment {
		return nil
	}
	if t.Service == "" {
		t.Service = "strongroom"
	}
	return s.meter.Trace(ctx, telemetry.Tracing{Endpoint: t.Endpoint, Ratio: t.Ratio, Service: t.Service, Version: Version, Log: s.log})
}

// requestLevel is the level at which every request is logged, if they are.
func requestLevel(name string) (slog.Level, bool) {
	switch name {
	case "trace", "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "notice", "warn", "warning":
		return slog.LevelWarn, true
	case "err", "error":
		return slog.LevelError, true
	}
	return 0, false
}

// current is the house; nil while sealed.
func (s *Server) current() *house { return s.house.Load() }

func (s *Server) cacheMisses() uint64 {
	if h := s.current(); h != nil {
		return h.Cache.Loads()
	}
	return 0
}

func (s *Server) damagedRows() int {
	if h := s.current(); h != nil {
		return len(h.damaged.Rows())
	}
	return 0
}

func (s *Server) deviceHealth() []telemetry.Device {
	h := s.current()
	if h == nil {
		return nil
	}
	var out []telemetry.Device
	for _, d := range h.Audit.Status() {
		out = append(out, telemetry.Device{Path: d.Path, Lost: d.Lost, Up: d.Err == nil})
	}
	return out
}

// expiries are when the certificates end that are served.
func (s *Server) expiries() []telemetry.Certificate {
	ls := s.listeners.Load()
	if ls == nil {
		return nil
	}
	var out []telemetry.Certificate
	for _, c := range ls.certs {
		if leaf := c.current.Load().Certificates[0].Leaf; leaf != nil {
			out = append(out, telemetry.Certificate{Listener: c.listener.Address, NotAfter: leaf.NotAfter})
		}
	}
	return out
}

// countRevoked counts tokens that end.
func (s *Server) countRevoked(context.Context, string, string) error {
	s.meter.TokenRevoked()
	return nil
}

// admit serves what the listener serves: metrics only, no metrics, or metrics
// without a token.
func (s *Server) admit(l *Listener, door http.Handler, w http.ResponseWriter, r *http.Request) {
	switch {
	case l.OnlyMetrics && r.URL.Path != metricsPath:
		refuse(w, http.StatusNotFound, "this listener serves metrics only; ask another one")
	case l.NoMetrics && path.Clean(r.URL.Path) == metricsPath:
		refuse(w, http.StatusNotFound, "this listener serves no metrics; ask another one")
	case l.OpenMetrics && r.URL.Path == metricsPath && r.Method == http.MethodGet:
		s.showMetrics(w, r)
	default:
		door.ServeHTTP(w, r)
	}
}

// showMetrics answers without a token, also while sealed.
func (s *Server) showMetrics(w http.ResponseWriter, r *http.Request) {
	raw, err := s.meter.Read(r.URL.Query().Get("format"))
	switch {
	case err == nil:
		w.Header().Set("Content-Type", raw.ContentType)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
		w.Write(raw.Body) // a client that is gone does not hear of it
	case api.KindOf(err) == api.Invalid:
		refuse(w, http.StatusBadRequest, err.Error())
	default:
		s.log.Error("reading metrics", slog.Any("error", err))
		refuse(w, http.StatusInternalServerError, "metrics cannot be read; the server's log has the cause")
	}
}
