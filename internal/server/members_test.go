package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
	"github.com/strongroom/strongroom/internal/store/etcd/member"
	"github.com/strongroom/strongroom/test/process"
)

// peerURL is a URL for a member, at a port that is free now.
func peerURL(t *testing.T) string {
	t.Helper()
	addr, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + addr
}

// TestMembersOfTheStore serves from a member of etcd in the process, lists it, and
// makes room for another that is taken out again.
func TestMembersOfTheStore(t *testing.T) {
	url, dir := peerURL(t), t.TempDir()
	s := servertest.Start(t, func(c *server.Config) {
		c.Shared = &server.Shared{Member: &member.Config{Members: []member.Peer{{Name: "a", URL: url}}, Dir: dir}}
	})
	root := servertest.Root
	s.Want(t, 200, "PUT", "secret/data/a", root, `{"data":{"x":"y"}}`)
	if a := s.Want(t, 200, "GET", "sys/seal-status", "", ""); a.String("storage_type") != "etcd" {
		t.Errorf("seal-status: %s", a.Body)
	}
	members := s.Want(t, 200, "GET", "sys/storage/members", root, "")
	list, _ := members.Field("data", "members").([]any)
	if len(list) != 1 || !strings.Contains(members.Text(), `"name":"a"`) || !strings.Contains(members.Text(), `"answers":true`) || !strings.Contains(members.Text(), `"leader":true`) {
		t.Fatalf("members: %s", members.Body)
	}
	for body, want := range map[string]string{`{}`: "peer_url", `{"peer_url":"https://x"}`: "https://host:port", `{"peer_url":"http://10.0.0.1:1"}`: "not encrypted"} {
		if a := s.Want(t, 400, "PUT", "sys/storage/members", root, body); !strings.Contains(a.Text(), want) {
			t.Errorf("adding %s: %s", body, a.Body)
		}
	}
	s.Want(t, 400, "DELETE", "sys/storage/members/xyz", root, "")
	s.Want(t, 400, "DELETE", "sys/storage/members/123", root, "")
	s.Want(t, 403, "GET", "sys/storage/members", "", "")
	id := fmt.Sprint(list[0].(map[string]any)["id"])
	if a := s.Want(t, 400, "DELETE", "sys/storage/members/"+id, root, ""); strings.Contains(a.Text(), "panic") {
		t.Errorf("removing the last member: %s", a.Body)
	}
	s.Want(t, 200, "GET", "secret/data/a", root, "")
}

// TestNoMembers has a store without members say so.
func TestNoMembers(t *testing.T) {
	s := servertest.Start(t)
	if a := s.Want(t, 400, "GET", "sys/storage/members", servertest.Root, ""); !strings.Contains(a.Text(), "operator nodes") {
		t.Errorf("%s", a.Body)
	}
}
