package compat

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"testing"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	vault "github.com/hashicorp/vault/api"
	bao "github.com/openbao/openbao/api/v2"

	"github.com/strongroom/strongroom/test/engine"
	"github.com/strongroom/strongroom/test/process"
)

// shared starts a server whose unseal keys people hold, two of three, and unseals it.
func shared(t *testing.T, make func(*testing.T, *process.Server) *client) (*client, []string) {
	t.Helper()
	c := make(t, uninitialised(t))
	held := c.initialise(t)
	c.reopen(t, held)
	return c, held
}

// reopen unseals with the first two of the keys.
func (c *client) reopen(t *testing.T, held []string) {
	t.Helper()
	must(c.sys.Unseal(held[0]))(t)
	equal(t, "sealed", must(c.sys.Unseal(held[1]))(t).Sealed, false)
}

// eachShared runs the test body with each client against a server whose unseal keys are held.
func eachShared(t *testing.T, body func(*testing.T, *client, []string)) {
	t.Parallel()
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, held := shared(t, make)
			body(t, c, held)
		})
	}
}

func TestRekey(t *testing.T) {
	eachShared(t, func(t *testing.T, c *client, held []string) {
		idle := must(c.sys.RekeyStatus())(t)
		equal(t, "idle", []any{idle.Started, idle.Required, idle.Nonce}, []any{false, 2, ""})
		begun := must(c.sys.RekeyInit(&vault.RekeyInitRequest{SecretShares: 2, SecretThreshold: 2}))(t)
		equal(t, "begun", []any{begun.Started, begun.T, begun.N, begun.Required, begun.Progress, begun.VerificationRequired}, []any{true, 2, 2, 2, 0, false})
		_, err := c.sys.RekeyInit(&vault.RekeyInitRequest{SecretShares: 2, SecretThreshold: 2})
		refused(t, err, 400, "already in progress")
		stranger := c.as(t, "")
		if half := must(stranger.sys.RekeyUpdate(held[1], begun.Nonce))(t); half.Complete || len(half.Keys) != 0 {
			t.Errorf("one key of two made new ones")
		}
		equal(t, "progress", must(c.sys.RekeyStatus())(t).Progress, 1)
		done := must(stranger.sys.RekeyUpdate(held[2], begun.Nonce))(t)
		equal(t, "complete, keys", []any{done.Complete, len(done.Keys), len(done.KeysB64), done.VerificationRequired}, []any{true, 2, 2, false})
		ok(t, c.sys.Seal())
		_, err = c.sys.Unseal(held[0])
		refused(t, err, 400, "no key slot takes this unseal key")
		c.reopen(t, []string{done.Keys[0], done.KeysB64[1]})
		must(c.tokens.LookupSelf())(t)
	})
}

func TestRekeyVerified(t *testing.T) {
	eachShared(t, func(t *testing.T, c *client, held []string) {
		begun := must(c.sys.RekeyInit(&vault.RekeyInitRequest{SecretShares: 3, SecretThreshold: 2, RequireVerification: true}))(t)
		must(c.sys.RekeyUpdate(held[0], begun.Nonce))(t)
		done := must(c.sys.RekeyUpdate(held[1], begun.Nonce))(t)
		equal(t, "verification", done.VerificationRequired, true)
		status := must(c.sys.RekeyVerificationStatus())(t)
		equal(t, "status", []any{status.Started, status.Nonce, status.T, status.N}, []any{true, done.VerificationNonce, 2, 3})
		must(c.sys.RekeyVerificationUpdate(done.Keys[0], done.VerificationNonce))(t)
		ok(t, c.sys.RekeyVerificationCancel())
		status = must(c.sys.RekeyVerificationStatus())(t)
		if status.Progress != 0 || status.Nonce == done.VerificationNonce {
			t.Errorf("after cancelling the verification: %+v", status)
		}
		ok(t, c.sys.Seal())
		c.reopen(t, held) // the old ones work, after a restart of the node's memory, too
		must(c.sys.RekeyVerificationUpdate(done.Keys[2], status.Nonce))(t)
		equal(t, "complete", must(c.sys.RekeyVerificationUpdate(done.KeysB64[1], status.Nonce))(t).Complete, true)
		ok(t, c.sys.Seal())
		_, err := c.sys.Unseal(held[0])
		refused(t, err, 400, "no key slot takes this unseal key")
		c.reopen(t, done.Keys)
	})
}

// TestStrangersAndCeremonies pins that beginning and cancelling take a token with sudo or an unseal key.
func TestStrangersAndCeremonies(t *testing.T) {
	eachShared(t, func(t *testing.T, c *client, held []string) {
		weak := c.bearer(t, `path "sys/*" { capabilities = ["create", "update", "read", "delete"] }`)
		set := &vault.RekeyInitRequest{SecretShares: 1, SecretThreshold: 1}
		for _, stranger := range []*client{c.as(t, ""), weak, c.as(t, "s.revoked")} {
			_, err := stranger.sys.RekeyInit(set)
			refused(t, err, 403, "permission denied")
			_, err = stranger.sys.GenerateRootInit("", "")
			refused(t, err, 403, "permission denied")
		}
		begun := must(c.sys.RekeyInit(set))(t)
		root := must(c.sys.GenerateRootInit("", ""))(t)
		for _, stranger := range []*client{c.as(t, ""), weak} {
			refused(t, stranger.sys.RekeyCancel(), 403, "permission denied")
			refused(t, stranger.sys.RekeyVerificationCancel(), 403, "permission denied")
			refused(t, stranger.sys.GenerateRootCancel(), 403, "permission denied")
			_, err := stranger.sys.RekeyUpdate(held[0], "guess")
			refused(t, err, 400, "incorrect nonce")
		}
		equal(t, "rekey goes on", must(c.sys.RekeyStatus())(t).Nonce, begun.Nonce)
		equal(t, "root goes on", must(c.sys.GenerateRootStatus())(t).Nonce, root.Nonce)
		sudo := c.bearer(t, `path "sys/rekey/init" { capabilities = ["update", "delete", "sudo"] }`)
		ok(t, sudo.sys.RekeyCancel())
		ok(t, c.sys.GenerateRootCancel())
		anyone := c.as(t, "")
		equal(t, "begun with a key", anyone.send(t, "PUT", "/v1/sys/rekey/init", `{"secret_shares":1,"secret_threshold":1,"key":"`+held[0]+`"}`).status, 200)
		equal(t, "it counts", must(c.sys.RekeyStatus())(t).Progress, 1)
		equal(t, "cancelled with a key", anyone.send(t, "DELETE", "/v1/sys/rekey/init", `{"key":"`+held[1]+`"}`).status, 204)
		equal(t, "cancelled", must(c.sys.RekeyStatus())(t).Started, false)
	})
}

// decodeToken undoes the one-time pad, as both command lines do.
func decodeToken(t *testing.T, encoded, otp string) string {
	t.Helper()
	text := must(base64.RawStdEncoding.DecodeString(encoded))(t)
	equal(t, "length of the pad", len(otp), len(text))
	for i := range text {
		text[i] ^= otp[i]
	}
	return string(text)
}

// TestGenerateRoot makes a root token with both clients' flow, and once more without any token, as after the last one was lost.
func TestGenerateRoot(t *testing.T) {
	eachShared(t, func(t *testing.T, c *client, held []string) {
		status := must(c.sys.GenerateRootStatus())(t)
		equal(t, "idle", []any{status.Started, status.Required}, []any{false, 2})
		_, err := c.sys.GenerateRootInit("short", "")
		refused(t, err, 400, "otp")
		begun := must(c.sys.GenerateRootInit("", ""))(t)
		equal(t, "pad", len(begun.OTP), status.OTPLength)
		equal(t, "the pad is told once", must(c.sys.GenerateRootStatus())(t).OTP, "")
		equal(t, "half", must(c.sys.GenerateRootUpdate(held[0], begun.Nonce))(t).Complete, false)
		done := must(c.sys.GenerateRootUpdate(held[2], begun.Nonce))(t)
		equal(t, "complete", []any{done.Complete, done.EncodedToken == done.EncodedRootToken}, []any{true, true})
		root := c.as(t, decodeToken(t, done.EncodedToken, begun.OTP))
		equal(t, "policies", must(root.tokens.LookupSelf())(t).Data["policies"], any([]any{"root"}))
		_, err = c.sys.GenerateRootUpdate(held[1], begun.Nonce)
		refused(t, err, 400, "not in progress")

		lost := c.as(t, "")
		started := lost.send(t, "PUT", "/v1/sys/generate-root/attempt", `{"key":"`+held[2]+`"}`)
		equal(t, "status", started.status, 200)
		last := lost.send(t, "PUT", "/v1/sys/generate-root/update", `{"key":"`+held[1]+`","nonce":"`+at(started.body, "nonce").(string)+`"}`)
		again := c.as(t, decodeToken(t, at(last.body, "encoded_token").(string), at(started.body, "otp").(string)))
		must(again.tokens.LookupSelf())(t)
	})
}

// keeper is a person with an OpenPGP key.
type keeper struct{ entity *openpgp.Entity }

func newKeeper(t *testing.T) keeper {
	t.Helper()
	return keeper{must(openpgp.NewEntity("keeper", "", "keeper@example.org", nil))(t)}
}

func (k keeper) public(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	ok(t, k.entity.Serialize(&out))
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

func (k keeper) decrypt(t *testing.T, message []byte) string {
	t.Helper()
	md := must(openpgp.ReadMessage(bytes.NewReader(message), openpgp.EntityList{k.entity}, nil, nil))(t)
	return string(must(io.ReadAll(md.UnverifiedBody))(t))
}

// TestEncryptedDelivery hands unseal keys and root tokens out encrypted, at initialisation, rekey and root generation.
func TestEncryptedDelivery(t *testing.T) {
	t.Parallel()
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ann, bob := newKeeper(t), newKeeper(t)
			identity := must(age.GenerateX25519Identity())(t)
			c := make(t, uninitialised(t))
			_, err := c.sys.Init(&vault.InitRequest{SecretShares: 2, SecretThreshold: 2, PGPKeys: []string{ann.public(t)}})
			refused(t, err, 400, "pgp_keys")
			made := must(c.sys.Init(&vault.InitRequest{SecretShares: 2, SecretThreshold: 2, RootTokenPGPKey: bob.public(t),
				PGPKeys: []string{ann.public(t), identity.Recipient().String()}}))(t)
			c.setToken(bob.decrypt(t, must(base64.StdEncoding.DecodeString(made.RootToken))(t)))
			held := []string{ann.decrypt(t, must(hex.DecodeString(made.Keys[0]))(t)), fromAge(t, identity, made.KeysB64[1])}
			c.reopen(t, held)

			begun := must(c.sys.RekeyInit(&vault.RekeyInitRequest{SecretShares: 1, SecretThreshold: 1, PGPKeys: []string{bob.public(t)}, Backup: true}))(t)
			equal(t, "fingerprints", begun.PGPFingerprints, []string{hex.EncodeToString(bob.entity.PrimaryKey.Fingerprint)})
			must(c.sys.RekeyUpdate(held[0], begun.Nonce))(t)
			done := must(c.sys.RekeyUpdate(held[1], begun.Nonce))(t)
			kept := must(c.sys.RekeyRetrieveBackup())(t)
			equal(t, "backup", kept.Keys[begun.PGPFingerprints[0]], done.Keys)
			ok(t, c.sys.RekeyDeleteBackup())
			_, err = c.sys.RekeyRetrieveBackup()
			refused(t, err, 400, "no backed-up keys found")
			key := bob.decrypt(t, must(base64.StdEncoding.DecodeString(done.KeysB64[0]))(t))

			root := must(c.sys.GenerateRootInit("", ann.public(t)))(t)
			token := must(c.sys.GenerateRootUpdate(key, root.Nonce))(t)
			must(c.as(t, ann.decrypt(t, must(base64.StdEncoding.DecodeString(token.EncodedToken))(t))).tokens.LookupSelf())(t)
		})
	}
}

func fromAge(t *testing.T, id age.Identity, encoded string) string {
	t.Helper()
	r := must(age.Decrypt(bytes.NewReader(must(base64.StdEncoding.DecodeString(encoded))(t)), id))(t)
	return string(must(io.ReadAll(r))(t))
}

// TestRecoveryKeys makes, replaces and uses the recovery keys of a server that unseals itself.
func TestRecoveryKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := startDurable(dir, engine.LocalSlot(dir))
	c := baoClient(t, owned(t, s, err))
	c.setToken(s.RootToken())
	ok(t, c.sys.RotateRoot())
	ok(t, c.sys.RotateKeyring())
	_, err = c.sys.RotateRootInit(&bao.RotateInitRequest{SecretShares: 1, SecretThreshold: 1})
	refused(t, err, 400, "recovery keys")
	_, err = c.sys.GenerateRootInit("", "")
	refused(t, err, 400, "no key slot has unseal keys")
	first := must(c.sys.RotateRecoveryInit(&bao.RotateInitRequest{SecretShares: 3, SecretThreshold: 2}))(t)
	equal(t, "made at once", []any{first.Complete, len(first.Keys)}, []any{true, 3})
	begun := must(c.sys.RotateRecoveryInit(&bao.RotateInitRequest{SecretShares: 1, SecretThreshold: 1}))(t)
	equal(t, "required", begun.Required, 2)
	must(c.sys.RotateRecoveryUpdate(first.Keys[0], begun.Nonce))(t)
	second := must(c.sys.RotateRecoveryUpdate(first.Keys[2], begun.Nonce))(t)
	equal(t, "replaced", []any{second.Complete, len(second.Keys)}, []any{true, 1})
	root := must(c.sys.GenerateRootInit("", ""))(t)
	done := must(c.sys.GenerateRootUpdate(second.Keys[0], root.Nonce))(t)
	must(c.as(t, decodeToken(t, done.EncodedToken, root.OTP)).tokens.LookupSelf())(t)
	refused(t, c.sys.RotateRoot(), 400, "people hold")
}

// TestRotateRootKeys is OpenBao's own flow, which takes a token throughout.
func TestRotateRootKeys(t *testing.T) {
	t.Parallel()
	c, held := shared(t, baoClient)
	_, err := c.as(t, "").sys.RotateRootStatus()
	refused(t, err, 403, "permission denied")
	equal(t, "required", must(c.sys.RotateRootStatus())(t).Required, 2)
	begun := must(c.sys.RotateRootInit(&bao.RotateInitRequest{SecretShares: 2, SecretThreshold: 2, RequireVerification: true}))(t)
	ok(t, c.sys.RotateRootCancel())
	begun = must(c.sys.RotateRootInit(&bao.RotateInitRequest{SecretShares: 2, SecretThreshold: 2, RequireVerification: true}))(t)
	must(c.sys.RotateRootUpdate(held[0], begun.Nonce))(t)
	done := must(c.sys.RotateRootUpdate(held[1], begun.Nonce))(t)
	must(c.sys.RotateRootVerificationUpdate(done.Keys[1], done.VerificationNonce))(t)
	equal(t, "progress", must(c.sys.RotateRootVerificationStatus())(t).Progress, 1)
	equal(t, "complete", must(c.sys.RotateRootVerificationUpdate(done.Keys[0], done.VerificationNonce))(t).Complete, true)
	_, err = c.sys.RotateRootRetrieveBackup()
	refused(t, err, 400, "no backed-up keys found")
	ok(t, c.sys.RotateRootDeleteBackup())
	_, err = c.sys.RotateRecoveryStatus()
	refused(t, err, 400, "recovery keys are not supported")
	refused(t, c.sys.RotateRoot(), 400, "people hold")
	ok(t, c.sys.Seal())
	c.reopen(t, done.Keys)
}

// TestRotationSettings reads and writes when the key ring is rotated.
func TestRotationSettings(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		was := must(c.logical.Read("sys/rotate/config"))(t).Data
		equal(t, "interval", string(was["interval"].(interface{ String() string }).String()), "0")
		equal(t, "enabled", was["enabled"], any(true))
		must(c.logical.Write("sys/rotate/config", map[string]any{"interval": "72h", "max_operations": 2000000}))(t)
		now := must(c.logical.Read("sys/rotate/keyring/config"))(t).Data
		equal(t, "interval", now["interval"], any("72h0m0s"))
		for field, bad := range map[string]any{"interval": "1h", "max_operations": 5} {
			_, err := c.logical.Write("sys/rotate/config", map[string]any{field: bad})
			refused(t, err, 400, field)
		}
	})
}
