package identity

import (
	"slices"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under identity/.
func Routes() []api.Route[*Store] {
	return slices.Concat(entityRoutes(), aliasRoutes("entity-alias"), aliasRoutes("alias"), personaRoutes(), groupRoutes())
}

func entityRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Write, "entity", (*Store).writeEntity),
		api.Handle(api.List, "entity/id", (*Store).listEntities),
		api.Handle(api.Read, "entity/id/{id}", (*Store).readEntity),
		api.Handle(api.Write, "entity/id/{id}", (*Store).writeEntityByID),
		api.Handle(api.Delete, "entity/id/{id}", (*Store).removeEntity),
		api.Handle(api.Write, "entity/id/{id}/revoke-tokens", (*Store).revokeTokens),
		api.Handle(api.List, "entity/name", (*Store).listEntityNames),
		api.Handle(api.Read, "entity/name/{name}", (*Store).readEntityByName),
		api.Handle(api.Write, "entity/name/{name}", (*Store).writeEntityByName),
		api.Handle(api.Delete, "entity/name/{name}", (*Store).removeEntityByName),
		api.Handle(api.Write, "entity/batch-delete", (*Store).removeEntities),
		api.Handle(api.Write, "entity/merge", (*Store).mergeEntities),
		api.Handle(api.Write, "lookup/entity", (*Store).lookupEntity),
	}
}

// aliasRoutes are the endpoints for aliases of entities, under one of their names.
func aliasRoutes(at string) []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Write, at, (*Store).writeAlias),
		api.Handle(api.List, at+"/id", (*Store).listAliases),
		api.Handle(api.Read, at+"/id/{id}", (*Store).readAlias),
		api.Handle(api.Write, at+"/id/{id}", (*Store).writeAliasByID),
		api.Handle(api.Delete, at+"/id/{id}", (*Store).removeAlias),
	}
}

func personaRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Write, "persona", (*Store).writePersona),
		api.Handle(api.List, "persona/id", (*Store).listAliases),
		api.Handle(api.Read, "persona/id/{id}", (*Store).readAlias),
		api.Handle(api.Write, "persona/id/{id}", (*Store).writePersonaByID),
		api.Handle(api.Delete, "persona/id/{id}", (*Store).removeAlias),
	}
}

func groupRoutes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Write, "group", (*Store).writeGroup),
		api.Handle(api.List, "group/id", (*Store).listGroups),
		api.Handle(api.Read, "group/id/{id}", (*Store).readGroup),
		api.Handle(api.Write, "group/id/{id}", (*Store).writeGroupByID),
		api.Handle(api.Delete, "group/id/{id}", (*Store).removeGroup),
		api.Handle(api.List, "group/name", (*Store).listGroupNames),
		api.Handle(api.Read, "group/name/{name}", (*Store).readGroupByName),
		api.Handle(api.Write, "group/name/{name}", (*Store).writeGroupByName),
		api.Handle(api.Delete, "group/name/{name}", (*Store).removeGroupByName),
		api.Handle(api.Write, "lookup/group", (*Store).lookupGroup),
		api.Handle(api.Write, "group-alias", (*Store).writeGroupAlias),
		api.Handle(api.List, "group-alias/id", (*Store).listGroupAliases),
		api.Handle(api.Read, "group-alias/id/{id}", (*Store).readGroupAlias),
		api.Handle(api.Write, "group-alias/id/{id}", (*Store).writeGroupAliasByID),
		api.Handle(api.Delete, "group-alias/id/{id}", (*Store).removeGroupAlias),
	}
}
