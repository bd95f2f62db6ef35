package server

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/barrier"
)

// aboutKeys are the endpoints whose requests and answers carry keys or parts of keys.
func aboutKeys(path string) bool {
	i := strings.LastIndex(path, "/sys/")
	if i < 0 {
		return false
	}
	name, _, _ := strings.Cut(path[i+len("/sys/"):], "/")
	switch name {
	case "init", "unseal", "seal", "key-slots", "rotate", "rekey", "rekey-recovery-key", "generate-root", "generate-recovery-token", "decode-token":
		return true
	}
	return false
}

// erasing has such requests handled in memory that is erased, and erases it soon
// where one has sealed or unsealed the server. Others make no garbage worth a collection,
// and strangers can send them.
func (s *Server) erasing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !aboutKeys(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		was := s.barrier.Sealed()
		err := barrier.Erasing(func() error { next.ServeHTTP(w, r); return nil })
		if err == nil && was != s.barrier.Sealed() {
			go forget()
		}
	})
}

// What is allocated for keys is erased when the garbage collector finds it
// unused; pools give up what they hold at the second collection. Some of it is
// held by connections and goroutines that end within a second.
const (
	forgetTimes = 4
	forgetEvery = 500 * time.Millisecond
)

// forget collects garbage until nothing is left of keys that are not in use, and
// gives the memory back to the system.
func forget() {
	for range forgetTimes {
		runtime.GC()
		debug.FreeOSMemory()
		<-time.After(forgetEvery)
	}
}
