package server_test

import (
	"cmp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

// crier is an auth method that lets in whoever asks, and says in which groups they are as a test tells it.
type crier struct {
	mu     sync.Mutex
	groups map[string][]string // by name
	called map[string]string   // what those are called by now who have another name
}

type criedLogin struct {
	Name api.Name `path:"name"`
}

func (c *crier) says(name string) *api.Auth {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &api.Auth{TTL: time.Hour, Renewable: true, Alias: &api.Alias{Name: cmp.Or(c.called[name], name)}, GroupAliases: c.groups[name], Private: []byte(name)}
}

func (c *crier) login(_ *api.Call, q *criedLogin) (*api.Auth, error) {
	return c.says(string(q.Name)), nil
}

func (c *crier) renew(_ *api.Call, s *api.Session) (*api.Auth, error) {
	return c.says(string(s.Private)), nil
}

func (c *crier) set(name string, groups ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.groups[name] = groups
}

// crying is a server with a crier at auth/crier, and the external group red of it, which gives a policy of its name.
func crying(t *testing.T) (s *servertest.Server, c *crier, accessor string) {
	t.Helper()
	c = &crier{groups: map[string][]string{}, called: map[string]string{}}
	eps, err := api.Bind(c, []api.Route[*crier]{api.Handle(api.Write, "login/{name}", (*crier).login, api.Public)})
	if err != nil {
		t.Fatal(err)
	}
	s = servertest.Start(t, func(conf *server.Config) {
		conf.Engines = append(conf.Engines, api.Engine{Type: "crier", Auth: true, Endpoints: eps, Renew: c.renew})
	})
	s.Want(t, 204, "POST", "sys/auth/crier", servertest.Root, `{"type":"crier"}`)
	return s, c, redOf(t, s, "crier")
}

// redOf makes the external group red of an auth method, whose accessor it answers.
func redOf(t *testing.T, s *servertest.Server, method string) (accessor string) {
	t.Helper()
	accessor = s.Want(t, 200, "GET", "sys/auth/"+method, servertest.Root, "").String("data", "accessor")
	group := s.Want(t, 200, "POST", "identity/group", servertest.Root, `{"name":"red","type":"external","policies":["red"]}`).String("data", "id")
	s.Want(t, 200, "POST", "identity/group-alias", servertest.Root, `{"name":"red","mount_accessor":"`+accessor+`","canonical_id":"`+group+`"}`)
	return accessor
}

// isRed reports whether a token has the policy of the group.
func isRed(t *testing.T, s *servertest.Server, token string) bool {
	t.Helper()
	return strings.Contains(s.Want(t, 200, "GET", "auth/token/lookup-self", token, "").Text(), `"identity_policies":["red"]`)
}

// The renewal of a token brings the groups of the alias that its login was by, and of no other: by the time its entity may be known at the same
// auth method by another name.
func TestRenewalIsByTheTokensAlias(t *testing.T) {
	s, c, accessor := crying(t)
	in := func(name string) (token, entity string) {
		a := s.Want(t, 200, "POST", "auth/crier/login/"+name, "", "")
		return clientToken(a), a.String("auth", "entity_id")
	}
	renew := func(token string) { s.Want(t, 200, "POST", "auth/token/renew-self", token, "") }
	token, entity := in("old")
	c.set("old", "red")
	if renew(token); !isRed(t, s, token) {
		t.Fatal("control: a renewal brings nothing")
	}
	alias := s.Want(t, 200, "POST", "identity/entity-alias", servertest.Root, `{"name":"old","mount_accessor":"`+accessor+`"}`).String("data", "id")
	s.Want(t, 204, "DELETE", "identity/entity-alias/id/"+alias, servertest.Root, "")
	s.Want(t, 200, "POST", "identity/entity-alias", servertest.Root, `{"name":"new","mount_accessor":"`+accessor+`","canonical_id":"`+entity+`"}`)
	if renew(token); isRed(t, s, token) {
		t.Error("the groups of an alias that was deleted are brought to the one that came after it")
	}
	c.mu.Lock()
	c.called["old"] = "new"
	c.mu.Unlock()
	if renew(token); isRed(t, s, token) {
		t.Error("the groups of another alias than that of the login are brought")
	}
	c.set("old")
	c.set("new", "red")
	fresh, _ := in("new")
	if renew(token); !isRed(t, s, fresh) {
		t.Error("the renewal of a token by an alias that was deleted takes away what another alias brings")
	}
}

// A jwt says at its login in which groups somebody is, and nothing more after it: a renewal takes nobody out.
func TestRenewalOfWhatCannotBeAskedAgain(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "POST", "sys/auth/jwt", servertest.Root, `{"type":"jwt"}`)
	key := authtest.Key(t, 0)
	s.Want(t, 204, "POST", "auth/jwt/config", servertest.Root, `{"jwt_validation_pubkeys":[`+strconv.Quote(authtest.PEM(t, key.Public()))+`]}`)
	s.Want(t, 204, "POST", "auth/jwt/role/web", servertest.Root, `{"role_type":"jwt","user_claim":"sub","groups_claim":"groups","bound_audiences":["us"],"token_ttl":"1h"}`)
	redOf(t, s, "jwt")
	signed := authtest.Sign(t, "RS256", key, "k", map[string]any{"sub": "ann", "aud": "us", "groups": []string{"red"}, "iat": time.Now().Unix(), "nbf": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix()})
	token := clientToken(s.Want(t, 200, "POST", "auth/jwt/login", "", `{"role":"web","jwt":"`+signed+`"}`))
	if !isRed(t, s, token) {
		t.Fatal("control: the login brings nothing")
	}
	s.Want(t, 200, "POST", "auth/token/renew-self", token, "")
	if !isRed(t, s, token) {
		t.Error("the renewal has taken away what the login brought")
	}
}
