package identity

import "github.com/strongroom/strongroom/internal/api"

// PersonaRequest creates an alias of an entity, or changes it. It is the oldest form of
// AliasRequest.
type PersonaRequest struct {
	ID            string            `json:"id"`                           // Identifier of the alias to change; empty: the name and the mount say which.
	Name          string            `json:"name" audit:"clear"`           // Name by which the auth method knows the entity.
	MountAccessor string            `json:"mount_accessor" audit:"clear"` // Accessor of the auth method's mount.
	EntityID      string            `json:"entity_id"`                    // The entity; empty: as before, or a new one.
	Metadata      map[string]string `json:"metadata"`                     // Free key-value pairs; replaces what there was.
}

// PersonaByIDRequest changes an alias.
type PersonaByIDRequest struct {
	ID            api.Name          `path:"id"`                           // Identifier of the alias.
	Name          string            `json:"name" audit:"clear"`           // Its new name; empty: as before.
	MountAccessor string            `json:"mount_accessor" audit:"clear"` // Accessor of its new mount; empty: as before.
	EntityID      string            `json:"entity_id"`                    // The entity that it shall belong to; empty: as before.
	Metadata      map[string]string `json:"metadata"`                     // Free key-value pairs; replaces what there was.
}

// writePersona creates an alias of an entity, or changes it.
func (s *Store) writePersona(c *api.Call, q *PersonaRequest) (*AliasMade, error) {
	return s.writeAlias(c, &AliasRequest{ID: q.ID, Name: q.Name, MountAccessor: q.MountAccessor, CanonicalID: q.EntityID, CustomMetadata: q.Metadata})
}

// writePersonaByID changes an alias.
func (s *Store) writePersonaByID(c *api.Call, q *PersonaByIDRequest) (*AliasMade, error) {
	return s.changeAlias(c, &AliasRequest{ID: string(q.ID), Name: q.Name, MountAccessor: q.MountAccessor, CanonicalID: q.EntityID, CustomMetadata: q.Metadata})
}
