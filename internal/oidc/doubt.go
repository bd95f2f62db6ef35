package oidc

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// doubtProvider warns of what a provider names and is not there.
func (s *Store) doubtProvider(c *api.Call, clients, paths []string) error {
	for _, id := range clients {
		if id == anyone {
			continue
		}
		r, err := s.client(c, id)
		if err != nil {
			return err
		}
		if r == nil {
			c.Warn("allowed_client_ids: one of them is the client_id of no client of this namespace: is it a client's name?")
			break
		}
	}
	return s.doubtPaths(c, paths)
}

// doubtClient warns of a client to which nobody can log in.
func doubtClient(c *api.Call, redirects, assignments []string) {
	if len(redirects) == 0 {
		c.Warn("redirect_uris: there are none, so nobody can log in to the client")
	}
	if slices.ContainsFunc(redirects, func(u string) bool { return strings.Contains(u, "*") }) {
		c.Warn("redirect_uris: they are compared as they stand, and * stands for nothing but itself: name each address whole")
	}
	if len(assignments) == 0 {
		c.Warn("assignments: there are none, so nobody may log in to the client; allow_all is everybody")
	}
}

// doubtAssignment warns of whom an assignment names and is not there.
func (s *Store) doubtAssignment(c *api.Call, entities, groups []string) error {
	for _, id := range entities {
		if id == anyone {
			continue
		}
		p, err := s.someone(c, c.Namespace.ID, id)
		if err != nil {
			return err
		}
		if p == nil {
			c.Warn("entity_ids: one of them is no entity that may log in, of this namespace or one above it: is it a name?")
			break
		}
	}
	for _, id := range groups {
		there, err := s.Grouped(c, c.Namespace.ID, id)
		if err != nil {
			return err
		}
		if !there {
			c.Warn("group_ids: one of them is no group of this namespace: is it a name?")
			break
		}
	}
	return nil
}
