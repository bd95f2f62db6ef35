// Package mfa owns second factors of logins: which logins need one, the secrets by which
// they are proved, and the logins that wait for theirs.
//
// The rows of a namespace N are in the encrypted store:
//
//	N/mfa/method/<id>              a method
//	N/mfa/name/<name>              its name, if it has one
//	N/mfa/enforcement/<name>       which logins need which methods
//	N/mfa/of/<entity>/totp/<id>    an entity's secret for a method, and what was shown for it
//	N/mfa/of/<entity>/webauthn/<id> an entity's passkeys for a method, and how many wrong ones were shown
//	N/mfa/of/<entity>/waiting      the logins of an entity that wait
//	N/mfa/waiting/<hash>           such a login, by the keyed hash of its identifier, and the challenges for it
//	N/mfa/of/<entity>/rights       the rights to register a passkey or a secret of an entity
//	N/mfa/right/<hash>             such a right, by the keyed hash of its identifier, and what was asked or shown for it
//
// An entity's secret for a method, the number of wrong passcodes that were shown for it, and
// the last time step whose passcode was taken are one row. Each passcode is judged in the
// commit that writes down how: so that of any number of them, at once and on any nodes,
// one of each time step is taken, and no more are judged than are allowed. A passkey is judged
// in the commit that takes its challenge away: of any number of answers to a challenge one is judged.
//
// Whatever cannot be read or decided refuses the login.
package mfa

import (
	"context"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Bounds of what is kept, so that no login costs more than it should.
const (
	maxName         = 256      // a name of a method or enforcement, in bytes
	maxIssuer       = 256      // in bytes
	maxEnforcements = 500      // of a namespace
	maxMethods      = 16       // of one enforcement
	maxListed       = 1000     // that one field of an enforcement lists
	maxShown        = 16       // passcodes of one request
	maxWaiting      = 8        // logins of one entity
	maxRights       = 8        // to register second factors of one entity
	maxPasskeys     = 16       // of one entity for one method
	maxOrigins      = 16       // of one method
	maxCredential   = 16 << 10 // what a browser says of a passkey, in bytes
	maxPublicKey    = 1100     // of a passkey, in bytes: RSA of 8192 bits
	remembered      = 4096     // namespaces whose enforcements a node keeps in mind
)

// Identity is what there is to know of who logs in.
type Identity interface {
	// Person is an entity as it stands; nil when there is none.
	Person(ctx context.Context, nsID, entityID string) (*identity.Person, error)
	// Still is whom a login was let in as by an alias, as they stand now; an error when the alias names another by now.
	Still(c *api.Call, in *api.Entrance, by *api.Alias) (*identity.Person, error)
	// Find is the identifier of the entity that a request looks for; empty: there is none.
	Find(c *api.Call, q *identity.LookupRequest) (id string, err error)
	// Named reads an entity's name as part of a transaction; false: there is none.
	Named(tx *store.Tx, nsID, entityID string) (name string, found bool, err error)
	// Grouped reports whether a namespace has a group.
	Grouped(ctx context.Context, nsID, groupID string) (bool, error)
}

// Config is what a Store stands on.
type Config struct {
	Store    store.Store  // the whole encrypted store
	Cache    *store.Cache // follows Store
	Identity Identity
	// Lineage is a namespace's identifier and those of the namespaces above it.
	Lineage func(ctx context.Context, nsID string) ([]string, error)
	// Accessor reports whether an auth method of a namespace has an accessor.
	Accessor func(ctx context.Context, nsID, accessor string) (bool, error)
	// Types are the types that auth methods with logins can have.
	Types func() []string
	// Hash is a keyed hash of a text, as hexadecimal.
	Hash func(ctx context.Context, nsID, text string) (string, error)
}

// Store keeps second factors. It is safe for concurrent use.
type Store struct {
	Config
	rules *store.Memo[string, []*rule]
}

// New keeps second factors in the encrypted store.
func New(c Config) *Store {
	s := &Store{Config: c}
	s.rules = store.NewMemo(c.Cache, remembered, loadRules)
	return s
}

func area(ns, what string) string           { return ns + "/mfa/" + what + "/" }
func methodKey(ns, id string) string        { return area(ns, "method") + id }
func nameKey(ns, name string) string        { return area(ns, "name") + spell(name) }
func enforcementKey(ns, name string) string { return area(ns, "enforcement") + name }
func entityArea(ns, entity string) string   { return area(ns, "of") + entity + "/" }
func waitingKey(ns, hash string) string     { return area(ns, "waiting") + hash }

func rightKey(ns, hash string) string { return area(ns, "right") + hash }

func passkeysKey(ns, entity, method string) string {
	return entityArea(ns, entity) + typeWebAuthn + "/" + method
}

func factorKey(ns, entity, method string) string { return entityArea(ns, entity) + "totp/" + method }

// spell is what all spellings of a name share that could be taken for one another.
func spell(name string) string { return policy.Fold(strings.TrimSpace(name)) }

// isID reports whether a text has the form of our identifiers. Anything else never
// becomes part of a key.
func isID(id string) bool {
	return len(id) == 36 && strings.Trim(id, "0123456789abcdef-") == ""
}

// errEntity is of an entity that the namespace has not.
func errEntity() error {
	return &api.Error{Kind: api.Invalid, Message: "entity_id: invalid entity id: this namespace has no such entity",
		Hint: "whoever is of a namespace below is given theirs in that namespace (-namespace=NAMESPACE), by the same method_id"}
}

// checkText refuses a text that could not be shown.
func checkText(field, text string, most int) error {
	switch {
	case len(text) > most:
		return api.Errorf(api.Invalid, "%s: longer than %d bytes", field, most)
	case strings.TrimSpace(text) != text:
		return api.Errorf(api.Invalid, "%s: begins or ends with space", field)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return api.Errorf(api.Invalid, "%s: holds a character that does not print", field)
	}
	return nil
}
