package mfa

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
)

// WhoFields name an entity, in one of three ways.
type WhoFields struct {
	EntityID           string `json:"entity_id" audit:"clear"`            // Identifier of the entity.
	EntityName         string `json:"entity_name" audit:"clear"`          // Or its name.
	AliasName          string `json:"alias_name" audit:"clear"`           // Or the name by which an auth method knows it, with alias_mount_accessor.
	AliasMountAccessor string `json:"alias_mount_accessor" audit:"clear"` // Accessor of that auth method.
}

// entity is the identifier of the entity that is named, which has the form of one.
func (f *WhoFields) entity(c *api.Call, s *Store) (string, error) {
	byAlias := f.AliasName != "" || f.AliasMountAccessor != ""
	switch {
	case f.EntityID != "" && (f.EntityName != "" || byAlias), f.EntityName != "" && byAlias:
		return "", api.Errorf(api.Invalid, "entity_id: give one of entity_id, entity_name, and alias_name with alias_mount_accessor")
	case byAlias && (f.AliasName == "" || f.AliasMountAccessor == ""):
		return "", api.Errorf(api.Invalid, "alias_name and alias_mount_accessor: both are needed")
	}
	id := f.EntityID
	if f.EntityName != "" || byAlias {
		found, err := s.Identity.Find(c, &identity.LookupRequest{Name: f.EntityName, AliasName: f.AliasName, AliasMountAccessor: f.AliasMountAccessor})
		if err != nil {
			return "", err
		}
		id = found
	}
	if !isID(id) {
		return "", errEntity()
	}
	return id, nil
}
