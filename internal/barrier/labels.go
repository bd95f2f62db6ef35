package barrier

// Label names what a derived key is for. No key serves two purposes, so each
// label appears once, here, and none is a prefix of another (the tests check it):
// two derivations never see the same input. A label is never changed or reused:
// what was written under it would be lost.
type Label string

// Stable purposes of a namespace: derived from its seed alone, so they outlive
// every rotation of the key ring. PurposeKey takes these and no other.
const (
	// TokenHash keys the hashes that stand for tokens and accessors in the store.
	TokenHash Label = "strongroom/v1/token-hash"
	// AuditHMAC keys the digests that stand for values in the audit log.
	AuditHMAC Label = "strongroom/v1/audit-hmac"
	// Fingerprint keys the digests that find equal secrets.
	Fingerprint Label = "strongroom/v1/fingerprint"
	// BatchToken seals tokens that are not kept in the store.
	BatchToken Label = "strongroom/v1/batch-token"
	// Cursor seals the continuation marks handed to clients.
	Cursor Label = "strongroom/v1/cursor"
	// Backup authenticates snapshots, under the root namespace.
	Backup Label = "strongroom/v1/backup"
	// TokenChecksum keys the checksums inside tokens.
	TokenChecksum Label = "strongroom/v1/token-checksum"
)

// Purposes of the seal, derived from a slot's key or from the root key.
const (
	// SlotWrap wraps the root key under a key slot's own key.
	SlotWrap Label = "strongroom/v1/slot-wrap"
	// SlotDirectory authenticates the list of key slots under the root key.
	SlotDirectory Label = "strongroom/v1/slot-directory"
	// ShareCommitment recognises the shares of a set under that set's salt.
	ShareCommitment Label = "strongroom/v1/share-commitment"
	// NamespaceSlot wraps a namespace's seed under a key that its holders share.
	NamespaceSlot Label = "strongroom/v1/namespace-slot"
	// Ceremony seals, under the root key, how far a key ceremony has come.
	Ceremony Label = "strongroom/v1/ceremony"
)

// Purposes of the barrier itself.
const (
	labelKeyRing   Label = "strongroom/v1/key-ring"
	labelNamespace Label = "strongroom/v1/namespace-seed"
	labelBelow     Label = "strongroom/v1/below-namespace"
	labelProgress  Label = "strongroom/v1/rewrap-progress"
	labelEntry     Label = "strongroom/v1/entry"
	// labelMessage is the fixed label of the per-message derivation. It is short
	// so that the derivation's input fits one SHA-256 block.
	labelMessage Label = "message key"
)

// Labels is every label there is.
func Labels() []Label {
	return []Label{
		TokenHash, AuditHMAC, Fingerprint, BatchToken, Cursor, Backup, TokenChecksum,
		SlotWrap, SlotDirectory, ShareCommitment, NamespaceSlot, Ceremony,
		labelKeyRing, labelNamespace, labelBelow, labelProgress, labelEntry, labelMessage,
	}
}

// stable reports whether l may be asked for through PurposeKey.
func (l Label) stable() bool {
	switch l {
	case TokenHash, AuditHMAC, Fingerprint, BatchToken, Cursor, Backup, TokenChecksum:
		return true
	}
	return false
}
