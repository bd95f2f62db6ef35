package identity

import "time"

// The kinds of group.
const (
	internal = "internal" // members are named by hand
	external = "external" // members are who an auth method says is in it
)

// Group is a set of entities and groups, of one namespace. It is shared: it must not
// be modified.
type Group struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Type     string            `json:"type"` // internal or external
	Policies []string          `json:"policies,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Created  time.Time         `json:"created,omitzero"`
	Updated  time.Time         `json:"updated,omitzero"`
	Index    int               `json:"index,omitempty"` // how often it has been written
	Alias    *GroupAlias       `json:"alias,omitempty"` // of an external group; nil: it has none yet
}

// GroupAlias is the name by which an auth method knows a group.
type GroupAlias struct {
	ID       string    `json:"id"`
	Accessor string    `json:"accessor"`
	Name     string    `json:"name"`
	Created  time.Time `json:"created,omitzero"`
	Updated  time.Time `json:"updated,omitzero"`
	// Stamp changes when the alias comes to stand for others: who is in the group by an
	// older one is in it no more.
	Stamp string `json:"stamp"`
}

func (g *Group) whole() bool { return g.ID != "" }

// stamp is what a membership of an entity must carry to count.
func (g *Group) stamp() string {
	switch {
	case g.Type != external:
		return ""
	case g.Alias == nil:
		return "none"
	}
	return g.Alias.Stamp
}

// groupAliasRow is the value of a group alias's row.
type groupAliasRow struct {
	GroupID string `json:"group"`
}

func (a *groupAliasRow) whole() bool { return a.GroupID != "" }

func groupAliasKey(ns, accessor, name string) string {
	return area(ns, "group-alias") + accessor + "/" + spell(name)
}

func groupAliasID(ns, id string) string { return area(ns, "group-alias-id") + id }
