package server_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// elsewhere is an auth method that asks somebody who takes his time.
type elsewhere struct{ in, goOn chan struct{} }

func (e elsewhere) login(c *api.Call, _ *api.None) (*api.Auth, error) {
	e.in <- struct{}{}
	select {
	case <-e.goOn:
	case <-c.Done():
	}
	return nil, api.ErrDenied()
}

// Logins for which others are asked are under way so many at a time. Who comes then is told when to come again, others go
// on, and when there is room again there is.
func TestLoginsThatAskOthersAreBounded(t *testing.T) {
	e := elsewhere{make(chan struct{}, 100), make(chan struct{})}
	eps, err := api.Bind(e, []api.Route[elsewhere]{api.Handle(api.Write, "login", elsewhere.login, api.Public, api.Asks)})
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, func(c *server.Config) {
		c.Engines = append(c.Engines, api.Engine{Type: "elsewhere", Auth: true, Description: "Asks.", Endpoints: eps})
	})
	s.Want(t, 204, "POST", "sys/auth/a", servertest.Root, `{"type":"elsewhere"}`)
	s.Want(t, 204, "POST", "sys/auth/b", servertest.Root, `{"type":"elsewhere"}`)
	var work sync.WaitGroup
	for range 32 {
		work.Go(func() {
			if a, err := s.Try("POST", "auth/a/login", "", ""); err != nil || a.Status != 403 {
				t.Errorf("%v, %v", a, err)
			}
		})
	}
	for range 32 {
		<-e.in
	}
	over := s.Want(t, 429, "POST", "auth/a/login", "", "")
	if over.Header.Get("Retry-After") != "1" || !strings.Contains(over.Text(), "under way") || len(e.in) != 0 {
		t.Errorf("%v %s; %d more have asked", over.Header, over.Body, len(e.in))
	}
	s.Want(t, 200, "GET", "auth/token/lookup-self", servertest.Root, "")
	work.Go(func() {
		if a, err := s.Try("POST", "auth/b/login", "", ""); err != nil || a.Status != 403 {
			t.Errorf("at another mount: %v, %v", a, err)
		}
	})
	<-e.in
	close(e.goOn)
	work.Wait()
	s.Want(t, 403, "POST", "auth/a/login", "", "")
}

// Whoever has mounts made in a namespace, and has all of them ask somebody who takes his time, keeps the logins of his own
// namespace waiting, and not those of others.
func TestLoginsThatAskOthersLeaveRoomToOthers(t *testing.T) {
	e := elsewhere{make(chan struct{}, 1000), make(chan struct{})}
	eps, err := api.Bind(e, []api.Route[elsewhere]{api.Handle(api.Write, "login", elsewhere.login, api.Public, api.Asks)})
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, func(c *server.Config) {
		c.Engines = append(c.Engines, api.Engine{Type: "elsewhere", Auth: true, Description: "Asks.", Endpoints: eps})
	})
	tenants(t, s, servertest.Root, "a", "a/low", "b")
	for _, ns := range []string{"", "a", "b"} {
		s.Want(t, 204, "POST", "sys/auth/own", servertest.Root, `{"type":"elsewhere"}`, in(ns)...)
	}
	var work sync.WaitGroup
	for i := range 4 {
		for _, ns := range []string{"a", "a/low"} {
			s.Want(t, 204, "POST", fmt.Sprintf("sys/auth/m%d", i), servertest.Root, `{"type":"elsewhere"}`, in(ns)...)
			for range 32 {
				work.Go(func() {
					if a, err := s.Try("POST", fmt.Sprintf("auth/m%d/login", i), "", "", in(ns)...); err != nil || a.Status == 429 {
						e.in <- struct{}{}
					}
				})
			}
		}
	}
	for range 8 * 32 { // each has asked, or was told to come again
		<-e.in
	}
	s.Want(t, 429, "POST", "auth/own/login", "", "", in("a")...)
	for _, ns := range []string{"", "b"} {
		work.Go(func() {
			if a, err := s.Try("POST", "auth/own/login", "", "", in(ns)...); err != nil || a.Status != 403 {
				t.Errorf("in %q: %v, %v", ns, a, err)
				e.in <- struct{}{}
			}
		})
		<-e.in
	}
	close(e.goOn)
	work.Wait()
	for _, ns := range []string{"", "a", "b"} {
		s.Want(t, 403, "POST", "auth/own/login", "", "", in(ns)...)
	}
}
