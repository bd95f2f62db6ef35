package introspect

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
)

// Types of plugin that clients know.
const (
	typeAuth     = "auth"
	typeDatabase = "database"
	typeSecret   = "secret"
)

// Catalog is everything that is built into the server, by type.
type Catalog struct {
	Auth     []string `json:"auth"`
	Database []string `json:"database"`
	Secret   []string `json:"secret"`
	Detailed []Entry  `json:"detailed"`
}

// Entry is one engine or auth method in a list.
type Entry struct {
	Builtin     bool   `json:"builtin"`
	Deprecation string `json:"deprecation_status"`
	Name        string `json:"name"`
	Type        string `json:"type"`
	Version     string `json:"version"`
}

// Plugin is one engine or auth method.
type Plugin struct {
	Args        []string `json:"args"`
	Builtin     bool     `json:"builtin"`
	Command     string   `json:"command"`
	Declarative bool     `json:"declarative"`
	Deprecation string   `json:"deprecation_status"`
	Name        string   `json:"name"`
	OCI         bool     `json:"oci"`
	SHA256      string   `json:"sha256"`
	Version     string   `json:"version"`
}

// PluginType names a type of plugin.
type PluginType struct {
	Type string `path:"type"` // Type of plugin: auth, database or secret.
}

// PluginName names a plugin.
type PluginName struct {
	Name string `path:"name"` // Name of the engine or auth method, as for enabling it.
}

// PluginRequest names a plugin with its type.
type PluginRequest struct {
	PluginType
	PluginName
}

// names are the engines or auth methods that people mount, in order.
func (n *Node) names(kind string) []string {
	out := []string{}
	for _, e := range n.Mounts.Engines() {
		everywhere := slices.Contains([]string{"system", "token", "cubbyhole", "identity"}, e.Type)
		if !everywhere && kind != typeDatabase && e.Auth == (kind == typeAuth) {
			out = append(out, e.Type)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// catalog lists everything that is built in.
func (n *Node) catalog(*api.Call, *api.None) (*Catalog, error) {
	out := &Catalog{Auth: n.names(typeAuth), Database: n.names(typeDatabase), Secret: n.names(typeSecret), Detailed: []Entry{}}
	for _, kind := range []string{typeAuth, typeDatabase, typeSecret} {
		for _, name := range n.names(kind) {
			out.Detailed = append(out.Detailed, Entry{true, "supported", name, kind, mount.BuiltinVersion})
		}
	}
	return out, nil
}

func knownType(kind string) error {
	if slices.Contains([]string{typeAuth, typeDatabase, typeSecret}, kind) {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Message: "type: is not a type of plugin", Hint: "one of auth, database, secret"}
}

// catalogOf lists what is built in of one type.
func (n *Node) catalogOf(_ *api.Call, q *PluginType) (*api.Keys, error) {
	return &api.Keys{Keys: n.names(q.Type)}, knownType(q.Type)
}

// plugin describes an engine or auth method that is built in.
func (n *Node) plugin(_ *api.Call, q *PluginRequest) (*Plugin, error) {
	if err := knownType(q.Type); err != nil {
		return nil, err
	}
	if !slices.Contains(n.names(q.Type), strings.TrimSuffix(q.Name, "/")) {
		return nil, api.ErrNotFound()
	}
	return &Plugin{Builtin: true, Deprecation: "supported", Name: q.Name, Version: mount.BuiltinVersion}, nil
}

// pluginByName answers a request that names no type, which older clients send.
func (n *Node) pluginByName(c *api.Call, _ *PluginName) (*api.None, error) {
	c.Warn("Deprecated API endpoint, cannot read plugin information from catalog without a type: ask for plugins/catalog/TYPE/NAME")
	return nil, nil
}
