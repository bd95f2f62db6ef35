package etcd

import (
	"net"
	"strings"
	"testing"
	"time"
)

// TestUnreachableClusterIsNamed: who cannot reach an etcd is told which endpoint, and why.
func TestUnreachableClusterIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // takes connections, and says nothing
	for _, c := range []struct {
		endpoint, user, want string
	}{
		{"http://127.0.0.1:1", "", "http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"http://127.0.0.1:1", "somebody", "connection refused"},
		{"http://" + l.Addr().String(), "", "does not answer as an etcd"},
	} {
		cluster := Cluster{Endpoints: []string{c.endpoint}, User: c.user}
		if c.user != "" {
			cluster.Password = "secretpw"
		}
		s, err := Open(t.Context(), cluster, Options{Timeout: time.Second})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secretpw") {
			t.Errorf("%s: %v", c.endpoint, err)
		}
	}
}
