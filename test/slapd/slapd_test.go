package slapd

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// TestServerLives goes through what others use: start, search, kill, restart.
func TestServerLives(t *testing.T) {
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	for range 2 {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := ldap.DialURL(s.URL); err == nil {
			t.Error("a killed server answers")
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		c, err := ldap.DialURL(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Bind(Reader, Password); err != nil {
			t.Fatal(err)
		}
		r, err := c.Search(ldap.NewSearchRequest(People, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(uid=alice)", []string{"memberOf"}, nil))
		if err != nil || len(r.Entries) != 1 || len(r.Entries[0].GetAttributeValues("memberOf")) != 2 {
			t.Errorf("the directory has %v (%v)", r, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
