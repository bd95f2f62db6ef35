package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/hcl/hcl/ast"

	"github.com/strongroom/strongroom/internal/door/vault"
)

// Limits bound what one request on a listener may be. Zero stands for the
// server's own bound, which is also the highest of the two about bodies.
type Limits struct {
	Body     int64         // bytes of a request's body (max_request_size)
	Memory   int64         // bytes that a body of JSON may take (max_request_json_memory); it takes its size
	Values   int           // values in a body of JSON, names not counted (max_request_json_strings)
	Duration time.Duration // of a request's handling (max_request_duration); 0: as long as it takes
	Header   time.Duration // to send a request's head (http_read_header_timeout)
	Read     time.Duration // to send a request with a small body (http_read_timeout)
	Write    time.Duration // of handling and answer together (http_write_timeout)
	Idle     time.Duration // between two requests (http_idle_timeout)
}

// limitSetting reads a setting about limits, by the names that Vault and OpenBao
// have for it; it reports whether the key is of one.
func (r *reader) limitSetting(l *Listener, key string, s *ast.ObjectItem) bool {
	switch key {
	case "max_request_size":
		l.Limits.Body = int64(r.atMost(s, vault.MaxBody))
	case "max_request_json_memory":
		l.Limits.Memory = int64(r.atMost(s, vault.MaxBody+vault.MaxBody/64)) // what OpenBao has by default
	case "max_request_json_strings":
		l.Limits.Values = r.atMost(s, vault.MaxValues)
	case "max_request_duration":
		l.Limits.Duration = r.duration(s)
	case "http_read_header_timeout":
		l.Limits.Header = r.duration(s)
	case "http_read_timeout":
		l.Limits.Read = r.duration(s)
	case "http_write_timeout":
		l.Limits.Write = r.duration(s)
	case "http_idle_timeout":
		l.Limits.Idle = r.duration(s)
	default:
		return false
	}
	return true
}

// atMost is a whole number from 1 to most; 0 and empty stand for the default.
func (r *reader) atMost(it *ast.ObjectItem, most int) int {
	s := r.text(it)
	if s == "" || s == "0" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		r.fault(it, "%s: must be a whole number from 1 to %d; it can be lowered and not turned off", keyOf(it, 0), most)
		return 0
	}
	return n
}

// within gives an HTTP server the limits of a listener.
func (l Limits) within(hs *http.Server) *http.Server {
	for _, c := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&hs.ReadHeaderTimeout, l.Header}, {&hs.ReadTimeout, l.Read}, {&hs.WriteTimeout, l.Write}, {&hs.IdleTimeout, l.Idle}} {
		if c.from != 0 {
			*c.to = c.from
		}
	}
	body := l.Body
	if l.Memory != 0 && (body == 0 || l.Memory < body) {
		body = l.Memory
	}
	next, bounds := hs.Handler, vault.Bounds{Body: body, Values: l.Values}
	hs.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := vault.Within(r.Context(), bounds)
		if l.Duration != 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, l.Duration)
			defer cancel()
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
	return hs
}

// serveAll serves each set of limits with an HTTP server of its own, until ctx
// ends or one of them fails.
func (s *Server) serveAll(ctx context.Context, ls *Listeners) error {
	groups := map[Limits][]net.Listener{}
	for i, l := range ls.open {
		groups[ls.limits[i]] = append(groups[ls.limits[i]], l)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	failed := make(chan error, len(groups))
	for limits, listeners := range groups {
		hs := s.http()
		if limits != (Limits{}) {
			hs = limits.within(hs)
		}
		work.Go(func() {
			defer stop() // the others end with it
			failed <- s.serve(ctx, hs, listeners)
		})
	}
	work.Wait()
	close(failed)
	var err error
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}
