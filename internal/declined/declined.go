// Package declined owns the refusals by design: endpoints of the Vault API that
// Strongroom will not have, each with the reason and what to do instead. They are
// declared as any endpoint is, so that clients and documents tell of them, and
// refuse only those who may ask.
package declined

import "github.com/strongroom/strongroom/internal/api"

// Desk refuses.
type Desk struct{}

// Routes are the endpoints under sys/ that refuse.
func Routes() []api.Route[*Desk] {
	routes := []api.Route[*Desk]{
		api.Handle(api.Write, "plugins/catalog/{name}", (*Desk).register, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "plugins/catalog/{type}/{name}", (*Desk).registerTyped, api.Sudo, api.RootOnly),
		api.Handle(api.Delete, "plugins/catalog/{name}", (*Desk).unregister, api.Sudo, api.RootOnly),
		api.Handle(api.Delete, "plugins/catalog/{type}/{name}", (*Desk).unregisterTyped, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "plugins/reload/backend", (*Desk).reload, api.RootOnly),
		api.Handle(api.Read, "internal/counters/activity", (*Desk).activity, api.RootOnly),
		api.Handle(api.Read, "internal/counters/activity/{path...}", (*Desk).activityPart, api.RootOnly),
		api.Handle(api.Write, "workflows/execute/{path...}", (*Desk).execute),
		api.Handle(api.Write, "workflows/trace/{path...}", (*Desk).trace),
		api.Handle(api.Write, "workflows/manage/{path...}", (*Desk).writeWorkflow),
		api.Handle(api.List, "workflows/manage", (*Desk).listWorkflows),
		api.Handle(api.Scan, "workflows/manage", (*Desk).listWorkflows),
	}
	for _, op := range []api.Op{api.Read, api.Delete, api.List, api.Scan} {
		routes = append(routes, api.Handle(op, "workflows/manage/{path...}", (*Desk).workflow))
	}
	for _, op := range []api.Op{api.Read, api.Write, api.Delete, api.List} {
		routes = append(routes, api.Handle(op, "storage/raft/{path...}", (*Desk).raft, api.RootOnly))
	}
	return routes
}

func refused(message, hint string) error {
	return &api.Error{Kind: api.Invalid, Message: message, Hint: hint}
}

// PluginName names a plugin.
type PluginName struct {
	Name string `path:"name"` // Name of the plugin.
}

// TypedPluginName names a plugin with its type.
type TypedPluginName struct {
	Type string `path:"type"` // Type of the plugin: auth, database or secret.
	PluginName
}

// Program is the program that a plugin would be.
type Program struct {
	Command string   `json:"command"` // Kept for compatibility.
	Args    []string `json:"args"`    // Kept for compatibility.
	Env     []string `json:"env"`     // Kept for compatibility.
	SHA256  string   `json:"sha256"`  // Kept for compatibility.
	OCI     bool     `json:"oci"`     // Kept for compatibility.
	Version string   `json:"version"` // Kept for compatibility.
}

// RegisterRequest would register a plugin.
type RegisterRequest struct {
	PluginName
	Type string `json:"type"` // Kept for compatibility.
	Program
}

// RegisterTypedRequest would register a plugin of a type.
type RegisterTypedRequest struct {
	TypedPluginName
	Program
}

func errPlugins() error {
	return refused("plugins cannot be registered: everything is built in, and the server runs no program of others",
		"see what there is with: strongroom read sys/plugins/catalog")
}

// register refuses a plugin: the server runs no program of others.
func (*Desk) register(*api.Call, *RegisterRequest) (*api.None, error) { return nil, errPlugins() }

// registerTyped refuses a plugin: the server runs no program of others.
func (*Desk) registerTyped(*api.Call, *RegisterTypedRequest) (*api.None, error) {
	return nil, errPlugins()
}

func errBuiltin() error {
	return refused("what is built in cannot be removed, and nothing else is registered", "leave it unmounted, or deny sys/mounts by policy")
}

// unregister refuses to remove a plugin: all are built in.
func (*Desk) unregister(*api.Call, *PluginName) (*api.None, error) { return nil, errBuiltin() }

// unregisterTyped refuses to remove a plugin: all are built in.
func (*Desk) unregisterTyped(*api.Call, *TypedPluginName) (*api.None, error) {
	return nil, errBuiltin()
}

// ReloadRequest would start plugins anew.
type ReloadRequest struct {
	Plugin string   `json:"plugin"` // Kept for compatibility.
	Mounts []string `json:"mounts"` // Kept for compatibility.
	Scope  string   `json:"scope"`  // Kept for compatibility.
}

// reload refuses to start plugins anew: none is a process of its own.
func (*Desk) reload(*api.Call, *ReloadRequest) (*api.None, error) {
	return nil, refused("plugins cannot be reloaded: everything is built into the server's own process", "to run another version, start the new server")
}

func errActivity() error {
	return refused("clients are not counted: nothing is priced or limited by their number", "count who appears in an audit log")
}

// activity refuses to count clients: nothing depends on their number.
func (*Desk) activity(*api.Call, *api.None) (*api.None, error) { return nil, errActivity() }

// PathRequest names what is asked for.
type PathRequest struct {
	Path string `path:"path"` // What is asked for.
}

// activityPart refuses to count clients: nothing depends on their number.
func (*Desk) activityPart(*api.Call, *PathRequest) (*api.None, error) { return nil, errActivity() }

func errWorkflows() error {
	return refused("there are no workflows: programs that are stored and run in the server with the rights of others",
		"make the same requests from a client, or let a policy bound what a token may do")
}

// WorkflowRequest would store a workflow.
type WorkflowRequest struct {
	PathRequest
	Workflow        string `json:"workflow"`              // Kept for compatibility.
	Description     string `json:"description"`           // Kept for compatibility.
	Unauthenticated bool   `json:"allow_unauthenticated"` // Kept for compatibility.
	CAS             int    `json:"cas"`                   // Kept for compatibility.
	CASRequired     bool   `json:"cas_required"`          // Kept for compatibility.
	After           string `json:"after"`                 // Kept for compatibility.
	Limit           int    `json:"limit"`                 // Kept for compatibility.
}

// writeWorkflow refuses a workflow: the server stores no programs.
func (*Desk) writeWorkflow(*api.Call, *WorkflowRequest) (*api.None, error) {
	return nil, errWorkflows()
}

// workflow answers that there are no workflows.
func (*Desk) workflow(*api.Call, *PathRequest) (*api.None, error) { return nil, errWorkflows() }

// listWorkflows answers that there are no workflows.
func (*Desk) listWorkflows(*api.Call, *api.None) (*api.None, error) { return nil, errWorkflows() }

// execute refuses to run a workflow: the server stores no programs.
func (*Desk) execute(*api.Call, *PathRequest) (*api.None, error) { return nil, errWorkflows() }

// trace refuses to run a workflow: the server stores no programs.
func (*Desk) trace(*api.Call, *PathRequest) (*api.None, error) { return nil, errWorkflows() }

// raft answers that there are no raft peers: nodes hold no state of their own.
func (*Desk) raft(*api.Call, *PathRequest) (*api.None, error) {
	return nil, refused("there are no raft peers: a node holds no state of its own, and every node serves",
		"add a node by starting one on the same store; back up with: strongroom operator snapshot save FILE")
}
