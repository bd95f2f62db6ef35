// Package operator owns what the people who run a server ask of it: to be
// initialised, unsealed and sealed, whether it is well, its key slots, the rotation
// of its keys, and the ceremonies in which the holders of unseal keys replace them or
// make a root token.
package operator

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/recipient"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/store"
)

// Defaults and bounds of a set of shares.
const (
	DefaultShares    = 5
	DefaultThreshold = 3
	maxShares        = 255
)

// Desk answers the operator. Its fields are set once, before the first request.
type Desk struct {
	Seal    *seal.Manager
	Barrier *barrier.Barrier
	// Open lets requests in after the barrier was unsealed; Shut keeps them out
	// again and seals it.
	Open func(ctx context.Context) error
	Shut func(ctx context.Context) error
	// IssueRoot makes a root token.
	IssueRoot func(ctx context.Context) (*api.Auth, error)
	// RewrapLater records the job that moves all entries to the newest key.
	RewrapLater func(ctx context.Context) error
	// Fleet is the nodes on the store, this one among them.
	Fleet *fleet.Fleet
	// Members are the members of the store in the nodes; nil: it has none.
	Members Members
	// SealAll has all nodes sealed and returns those that have not said that they
	// are. This one seals when it has answered.
	SealAll func(ctx context.Context) ([]fleet.Member, error)
	// Probe reads from the store; an error says that this node cannot serve.
	Probe func(ctx context.Context) error
	// Restored is why a store that a snapshot is being put into cannot be initialised or
	// unsealed yet, or nil.
	Restored func(ctx context.Context) error
	// Held reports whether leases are held since a restore.
	Held func(ctx context.Context) bool
	// Audited is why requests are refused for want of an audit device, or nil when
	// they are not.
	Audited func(c *api.Call) error
	// Warning is what whoever runs the server must know of the store, as that it takes no
	// writes; empty: nothing.
	Warning func() string
	// LocalSlot says that the configuration names a local key slot: an
	// initialised server unseals itself.
	LocalSlot bool
	// TokenLength is how many characters a root token has.
	TokenLength int
	// KeyDir is the directory of the keys of local slots; empty: there are none.
	KeyDir string

	Version     string // as clients gate their features by
	Program     string // the version of the program, with the commit
	ClusterName string
	StorageType string
	Address     string // where clients reach this node
	Log         *slog.Logger

	last atomic.Pointer[SealStatus] // what was last read of the key slots; nil: nothing was

	mu      sync.Mutex // held while the server is initialised, unsealed or sealed, and while old unseal keys are retired
	handing sync.Mutex // held from before new unseal keys are made until the old ones are retired, and while a ceremony is cancelled
}

// Routes are the endpoints of the operator, relative to sys/.
func Routes() []api.Route[*Desk] {
	return slices.Concat(SealedRoutes(), rekeyRoutes(), generateRoutes(), rotationRoutes(), memberRoutes(), []api.Route[*Desk]{
		api.Handle(api.Write, "seal", (*Desk).seal, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "step-down", (*Desk).stepDown, api.Sudo, api.RootOnly),
		api.Handle(api.Read, "ha-status", (*Desk).haStatus, api.Flat, api.RootOnly),
		api.Handle(api.List, "key-slots", (*Desk).listSlots, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "key-slots", (*Desk).addSlot, api.Sudo, api.RootOnly),
		api.Handle(api.Delete, "key-slots/{id}", (*Desk).removeSlot, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "key-slots/{id}/test", (*Desk).testSlot, api.Sudo, api.RootOnly),
	})
}

// SealedRoutes are the endpoints that answer also while the server is sealed.
func SealedRoutes() []api.Route[*Desk] {
	return []api.Route[*Desk]{
		api.Handle(api.Read, "init", (*Desk).initStatus, api.Public, api.Sealed, api.Bare, api.RootOnly),
		api.Handle(api.Write, "init", (*Desk).initialise, api.Public, api.Sealed, api.Bare, api.RootOnly),
		api.Handle(api.Read, "seal-status", (*Desk).sealStatus, api.Public, api.Sealed, api.Bare),
		api.Handle(api.Write, "unseal", (*Desk).unseal, api.Public, api.Sealed, api.Bare, api.RootOnly),
		api.Handle(api.Read, "health", (*Desk).health, api.Public, api.Sealed, api.Bare, api.RootOnly),
		api.Handle(api.Read, "leader", (*Desk).leader, api.Public, api.Sealed, api.Bare, api.RootOnly),
	}
}

// InitStatus says whether the server has been initialised.
type InitStatus struct {
	Initialized bool `json:"initialized"`
}

// initStatus says whether the server has been initialised.
func (d *Desk) initStatus(c *api.Call, _ *api.None) (*InitStatus, error) {
	done, err := d.Seal.Initialized(c)
	return &InitStatus{done}, err
}

// InitRequest initialises a server: it makes the root key and the key slots.
type InitRequest struct {
	Shares            int      `json:"secret_shares"`      // How many unseal keys to make.
	Threshold         int      `json:"secret_threshold"`   // How many of them unseal.
	StoredShares      int      `json:"stored_shares"`      // Kept for compatibility.
	RecoveryShares    int      `json:"recovery_shares"`    // With a local key slot: how many keys to make that unseal besides it.
	RecoveryThreshold int      `json:"recovery_threshold"` // How many of those unseal.
	PGPKeys           []string `json:"pgp_keys"`           // Public keys to encrypt the unseal keys to, one for each: OpenPGP in base64, or age recipients.
	RecoveryPGPKeys   []string `json:"recovery_pgp_keys"`  // Public keys to encrypt the recovery keys to, one for each.
	RootTokenPGPKey   string   `json:"root_token_pgp_key"` // Public key to encrypt the root token to.
}

// InitAnswer is the keys and the token that an initialisation made. They are
// kept nowhere else.
type InitAnswer struct {
	Keys               []api.Disclosed `json:"keys,omitempty"`
	KeysBase64         []api.Disclosed `json:"keys_base64,omitempty"`
	RecoveryKeys       []api.Disclosed `json:"recovery_keys,omitempty"`
	RecoveryKeysBase64 []api.Disclosed `json:"recovery_keys_base64,omitempty"`
	RootToken          api.Disclosed   `json:"root_token"`
}

func checkShares(shares, threshold int, field string) error {
	switch {
	case shares < 1 || shares > maxShares:
		return api.Errorf(api.Invalid, "%s_shares: must be between 1 and %d", field, maxShares)
	case threshold < 1 || threshold > shares:
		return api.Errorf(api.Invalid, "%s_threshold: must be between 1 and %s_shares", field, field)
	case shares > 1 && threshold == 1:
		return &api.Error{Kind: api.Invalid, Message: field + "_threshold: must be greater than one for multiple shares", Hint: "use one share, or a threshold of two or more"}
	}
	return nil
}

// slots are the key slots that a request asks for.
func (d *Desk) slots(q *InitRequest) ([]seal.SlotSpec, error) {
	if !d.LocalSlot {
		spec := seal.SlotSpec{Kind: seal.KindShamir, Name: "unseal keys", Shares: q.Shares, Threshold: q.Threshold}
		return []seal.SlotSpec{spec}, checkShares(q.Shares, q.Threshold, "secret")
	}
	specs := []seal.SlotSpec{{Kind: seal.KindFile, Name: "local file"}}
	if q.RecoveryShares == 0 && q.RecoveryThreshold == 0 {
		return specs, nil
	}
	specs = append(specs, seal.SlotSpec{Kind: seal.KindShamir, Name: "recovery keys", Shares: q.RecoveryShares, Threshold: q.RecoveryThreshold})
	return specs, checkShares(q.RecoveryShares, q.RecoveryThreshold, "recovery")
}

// initialise makes the root key, the key slots and a root token. It works once.
func (d *Desk) initialise(c *api.Call, q *InitRequest) (*InitAnswer, error) {
	specs, err := d.slots(q)
	if err != nil {
		return nil, err
	}
	to, err := d.delivery(c, q)
	if err != nil {
		return nil, err
	}
	answer, err := d.make(c, specs, to)
	if err != nil {
		return nil, err
	}
	if len(to.root) > 0 && answer.RootToken != "" {
		message, err := to.root[0].Encrypt(api.NewSecret(string(answer.RootToken)), c.Now)
		if err != nil { // the unseal keys are kept nowhere else
			d.Log.Error("the root token could not be encrypted: make another with the unseal keys", slog.Any("error", err))
		}
		answer.RootToken = api.Disclosed(base64.StdEncoding.EncodeToString(message))
	}
	return answer, nil
}

// delivery is who the outcome of an initialisation is encrypted to.
type delivery struct{ shares, root []*recipient.Recipient }

// delivery reads a request's public keys.
func (d *Desk) delivery(c *api.Call, q *InitRequest) (to delivery, err error) {
	field, keys, shares := "pgp_keys", q.PGPKeys, q.Shares
	if d.LocalSlot {
		field, keys, shares = "recovery_pgp_keys", q.RecoveryPGPKeys, q.RecoveryShares
	}
	if len(q.PGPKeys)+len(q.RecoveryPGPKeys) != len(keys) {
		return to, &api.Error{Kind: api.Invalid, Message: "pgp_keys and recovery_pgp_keys: this server makes keys of one kind only", Hint: "give " + field}
	}
	if err := checkKeys(field, keys, shares); err != nil {
		return to, err
	}
	if to.shares, _, err = recipients(field, keys, c.Now); err != nil || q.RootTokenPGPKey == "" {
		return to, err
	}
	to.root, _, err = recipients("root_token_pgp_key", []string{q.RootTokenPGPKey}, c.Now)
	return to, err
}

// make makes a cluster with the given key slots and its root token. With a slot
// that needs no people the server is open afterwards, else sealed.
func (d *Desk) make(c *api.Call, specs []seal.SlotSpec, to delivery) (*InitAnswer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx := c.Context
	made, err := d.Seal.Init(ctx, seal.InitConfig{Slots: specs})
	switch {
	case errors.Is(err, barrier.ErrInitialized):
		return nil, api.Errorf(api.Invalid, "Vault is already initialized")
	case errors.Is(err, barrier.ErrRestoring):
		return nil, cmp.Or(d.Restored(ctx), err)
	}
	if err != nil {
		return nil, err
	}
	answer := &InitAnswer{}
	for _, slot := range made {
		if err := d.take(ctx, slot); err != nil {
			return nil, err
		}
		h, err := hand(slot.Handed, to.shares, c.Now)
		if err != nil {
			return nil, err
		}
		answer.keep(h, d.LocalSlot)
	}
	if err := d.firstRoot(ctx, answer); err != nil {
		// The keys are kept nowhere else: they are handed out whatever failed.
		d.Log.Error("the cluster was initialised without a root token", slog.Any("error", err))
	}
	if !d.LocalSlot {
		return answer, d.Shut(ctx)
	}
	return answer, nil
}

// firstRoot opens a new cluster and puts its root token into the answer.
func (d *Desk) firstRoot(ctx context.Context, answer *InitAnswer) error {
	if err := d.Open(ctx); err != nil {
		return err
	}
	root, err := d.IssueRoot(ctx)
	if err != nil {
		return err
	}
	if err := d.MarkRootIssued(ctx); err != nil {
		return err
	}
	answer.RootToken = root.ClientToken.Disclose()
	return nil
}

// rootIssuedKey is there once the first root token has been handed out.
const rootIssuedKey = "root/operator/root-issued"

// RootIssued reports whether the cluster's first root token has been handed out.
// It needs an unsealed barrier.
func (d *Desk) RootIssued(ctx context.Context) (bool, error) {
	e, err := d.Barrier.Get(ctx, rootIssuedKey)
	return e.Exists(), err
}

// MarkRootIssued records that the first root token has been handed out.
func (d *Desk) MarkRootIssued(ctx context.Context) error {
	_, err := d.Barrier.Commit(ctx, nil, []store.Write{{Key: rootIssuedKey, Value: []byte{1}}})
	return err
}

// keep puts a slot's shares, if it has any, into the answer.
func (a *InitAnswer) keep(h handed, recovery bool) {
	if recovery {
		a.RecoveryKeys, a.RecoveryKeysBase64 = append(a.RecoveryKeys, h.hexes...), append(a.RecoveryKeysBase64, h.base64s...)
		return
	}
	a.Keys, a.KeysBase64 = append(a.Keys, h.hexes...), append(a.KeysBase64, h.base64s...)
}

// take unseals with a new slot.
func (d *Desk) take(ctx context.Context, slot seal.NewSlot) error {
	if slot.Kind != seal.KindShamir {
		return d.Seal.Unseal(ctx)
	}
	for i, share := range slot.Handed {
		if i >= slot.Threshold || !d.Barrier.Sealed() {
			break
		}
		if _, err := d.Seal.SubmitShare(ctx, share.Base64()); err != nil {
			return fmt.Errorf("trying the new unseal keys: %w", err)
		}
	}
	return nil
}

// SealStatus is how far the server is from being unsealed.
type SealStatus struct {
	Type         string `json:"type"`
	Initialized  bool   `json:"initialized"`
	Sealed       bool   `json:"sealed"`
	Threshold    int    `json:"t"`
	Shares       int    `json:"n"`
	Progress     int    `json:"progress"`
	Nonce        string `json:"nonce"`
	Version      string `json:"version"`
	Program      string `json:"program_version"` // of the program, with the commit; Version is that of the API
	BuildDate    string `json:"build_date"`
	Migration    bool   `json:"migration"`
	ClusterName  string `json:"cluster_name,omitempty"`
	ClusterID    string `json:"cluster_id,omitempty"`
	RecoverySeal bool   `json:"recovery_seal"`
	StorageType  string `json:"storage_type"`
	LeasesHeld   bool   `json:"leases_held,omitempty"` // leases that came with a snapshot are not taken back
	// KeySlots are the ways to unseal that can be read, of which t and n are one's: any of them unseals.
	KeySlots []SlotSize `json:"key_slots,omitempty"`
	// DamagedKeySlots are, while the server is sealed, the rows of key slots, or of their
	// list, that cannot be read: it cannot be unsealed by those.
	DamagedKeySlots []string `json:"damaged_key_slots,omitempty"`
	// Warning says that the store cannot be reached, and that the rest is what was last known.
	Warning string `json:"warning,omitempty"`
}

// SlotSize is what everybody may know of a key slot: what it takes to unseal by it.
type SlotSize struct {
	Kind      string `json:"kind"`
	Shares    int    `json:"secret_shares,omitempty"`
	Threshold int    `json:"secret_threshold,omitempty"`
}

// Ready reports whether the store has been initialised, by what was last known of it when it cannot be reached.
func (d *Desk) Ready(ctx context.Context) bool {
	s, err := d.status(ctx)
	if err != nil {
		s = d.last.Load()
	}
	return s != nil && s.Initialized
}

// status reads how far the server is from being unsealed, and remembers it.
func (d *Desk) status(ctx context.Context) (*SealStatus, error) {
	s, err := d.read(ctx)
	if err == nil {
		known := *s
		d.last.Store(&known)
	}
	return s, err
}

func (d *Desk) read(ctx context.Context) (*SealStatus, error) {
	s := &SealStatus{Sealed: true, Version: d.Version, Program: d.Program, StorageType: d.StorageType}
	s.alone(d.LocalSlot)
	var err error
	if s.Initialized, err = d.Seal.Initialized(ctx); err != nil || !s.Initialized {
		return s, err
	}
	p, err := d.Seal.Status(ctx)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return nil, err
	}
	s.alone(p.Alone)
	s.Sealed, s.Threshold, s.Shares, s.Progress, s.Nonce = p.Sealed, p.Threshold, p.Shares, p.Progress, p.Nonce
	for i := range p.Slots {
		s.KeySlots = append(s.KeySlots, SlotSize{Kind: p.Slots[i].Kind, Shares: p.Slots[i].Shares, Threshold: p.Slots[i].Threshold})
	}
	if s.Sealed {
		s.DamagedKeySlots = p.Damaged
	} else {
		s.ClusterName, s.ClusterID = d.ClusterName, d.Barrier.ClusterID()
		s.Progress, s.Nonce, s.LeasesHeld = 0, "", d.Held(ctx)
	}
	return s, nil
}

// alone tells whether the server unseals without people. What counts are the
// slots that there are, and before the first one the configuration.
func (s *SealStatus) alone(yes bool) {
	s.Type, s.RecoverySeal = seal.KindShamir, yes
	if yes {
		s.Type = seal.KindFile
	}
}

// sealStatus says whether the server is sealed, and how many unseal keys it has
// been given.
func (d *Desk) sealStatus(c *api.Call, _ *api.None) (*SealStatus, error) {
	ctx, cancel := context.WithTimeout(c, healthTime)
	defer cancel()
	s, err := d.status(ctx)
	if err == nil || c.Err() != nil || errors.Is(err, store.ErrCorrupt) {
		return s, err
	}
	d.Log.Warn("the store cannot be read", slog.Any("error", err))
	return d.remembered(err)
}

// storeAway is what is told of a store that cannot be read.
const storeAway = "this node cannot reach its store"

// remembered is what the node knows without its store: whether it is sealed, and what the key slots were when they were last
// read. That a store has not been initialised may have changed since.
func (d *Desk) remembered(cause error) (*SealStatus, error) {
	known := d.last.Load()
	if known == nil || !known.Initialized {
		return nil, &api.Error{Kind: api.Unavailable, Message: storeAway + ", and knows nothing of its key slots yet", Hint: "the server's log has the cause", Err: cause}
	}
	s := *known
	s.Sealed, s.Warning = d.Barrier.Sealed(), storeAway+": it serves nothing until it can; the key slots are told as they last were"
	s.ClusterName, s.ClusterID = "", ""
	if !s.Sealed {
		s.ClusterName, s.ClusterID, s.Progress, s.Nonce = d.ClusterName, d.Barrier.ClusterID(), 0, ""
	}
	return &s, nil
}

// UnsealRequest hands in one unseal key.
type UnsealRequest struct {
	Key     api.Secret `json:"key"`     // An unseal key, in base64 or hexadecimal.
	Reset   bool       `json:"reset"`   // Forget the keys handed in so far; with one of them as key, at any time, without it a minute after the last.
	Migrate bool       `json:"migrate"` // Kept for compatibility.
}

// unseal takes an unseal key. The server opens with the last that is needed.
func (d *Desk) unseal(c *api.Call, q *UnsealRequest) (*SealStatus, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch done, err := d.Seal.Initialized(c); {
	case err != nil:
		return nil, err
	case !done:
		return nil, cmp.Or(d.Restored(c), error(api.Errorf(api.Invalid, "Vault is not initialized")))
	case q.Reset:
		return d.resetUnseal(c, q.Key)
	case q.Key.Empty():
		return nil, api.Errorf(api.Invalid, "'key' must be specified in request body as JSON, or 'reset' set to true")
	}
	if _, err := seal.ParseShare(q.Key); err != nil {
		return nil, shareError(err)
	}
	if !d.Barrier.Sealed() {
		return d.status(c)
	}
	if _, err := d.Seal.SubmitShare(c, q.Key); err != nil {
		return nil, shareError(err)
	}
	if !d.Barrier.Sealed() {
		if err := d.Open(c); err != nil {
			return nil, errors.Join(err, d.Shut(c))
		}
		if err := d.Seal.Confirm(c); err != nil { // the slot counts as one that nobody has tried
			d.Log.Warn("that these unseal keys unseal could not be written down", slog.Any("error", err))
		}
	}
	return d.status(c)
}

func (d *Desk) resetUnseal(c *api.Call, key api.Secret) (*SealStatus, error) {
	if !d.Barrier.Sealed() {
		return nil, api.Errorf(api.Invalid, "vault is unsealed")
	}
	err := d.Seal.ResetUnseal(c, key)
	if errors.Is(err, seal.ErrUnderWay) {
		return nil, &api.Error{Kind: api.Invalid, Message: "unseal keys are being handed in", Hint: "give one of them as 'key' along with 'reset', or wait for a minute without any"}
	}
	if err != nil {
		return nil, shareError(err)
	}
	return d.status(c)
}

// shareError tells the operator what is wrong with a share.
func shareError(err error) error {
	for _, known := range []error{seal.ErrShare, seal.ErrWrongShare, seal.ErrUnknownSet} {
		if errors.Is(err, known) {
			return &api.Error{Kind: api.Invalid, Message: err.Error(), Hint: "check the key for a typing error, or hand in another one"}
		}
	}
	return err
}

// HealthRequest asks how the server is; the numbers replace status codes.
type HealthRequest struct {
	StandbyOK     bool `json:"standbyok"`                 // Kept for compatibility; every node is active.
	PerfStandbyOK bool `json:"perfstandbyok"`             // Kept for compatibility; every node is active.
	ActiveCode    int  `json:"activecode" default:"200"`  // Status code of a healthy server.
	StandbyCode   int  `json:"standbycode" default:"429"` // Kept for compatibility; every node is active.
	SealedCode    int  `json:"sealedcode" default:"503"`  // Status code of a sealed server.
	UninitCode    int  `json:"uninitcode" default:"501"`  // Status code of a server that has not been initialised.

	DRSecondaryCode        int `json:"drsecondarycode" default:"472"`        // Kept for compatibility; every node is active.
	PerformanceStandbyCode int `json:"performancestandbycode" default:"473"` // Kept for compatibility; every node is active.
	HAUnhealthyCode        int `json:"haunhealthycode" default:"474"`        // Status code of a server that refuses requests, since no audit device takes them.
	RemovedCode            int `json:"removedcode" default:"530"`            // Kept for compatibility; no node can be removed from others.
}

// codes are all status codes of the request.
func (q *HealthRequest) codes() []int {
	return []int{q.ActiveCode, q.SealedCode, q.UninitCode, q.StandbyCode, q.DRSecondaryCode, q.PerformanceStandbyCode, q.HAUnhealthyCode, q.RemovedCode}
}

// Health is how the server is.
type Health struct {
	Initialized bool   `json:"initialized"`
	Sealed      bool   `json:"sealed"`
	Standby     bool   `json:"standby"`
	Performance bool   `json:"performance_standby"`
	PerfMode    string `json:"replication_performance_mode"`
	DRMode      string `json:"replication_dr_mode"`
	ServerTime  int64  `json:"server_time_utc"` // seconds since 1970
	Version     string `json:"version"`
	ClusterName string `json:"cluster_name,omitempty"`
	ClusterID   string `json:"cluster_id,omitempty"`
	Enterprise  bool   `json:"enterprise"`
	Echo        int64  `json:"echo_duration_ms"`
	Skew        int64  `json:"clock_skew_ms"`
	CanaryAge   int64  `json:"replication_primary_canary_age_ms"`
	LeasesHeld  bool   `json:"leases_held,omitempty"` // leases that came with a snapshot are not taken back
	Warning     string `json:"warning,omitempty"`     // what whoever runs the server must know of the store, as that it takes no writes
}
