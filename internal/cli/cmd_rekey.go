package cli

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// rekeyFlags are those of operator rekey and operator rotate-keys.
type rekeyFlags struct {
	init, cancel, status, verify         bool
	backup, backupRetrieve, backupDelete bool
	shares, threshold                    int
	nonce, target, slot                  string
	pgpKeys                              []string
	unsealPath, recoveryPath             string
}

func operatorRekey() command {
	return rekeyCommand("rekey [KEY]", "Replace the unseal keys", "sys/rekey", "sys/rekey-recovery-key",
		"It needs a token with sudo or, with -init and -cancel, an unseal key as KEY.")
}

func operatorRotateKeys() command {
	return rekeyCommand("rotate-keys [KEY]", "Replace the unseal keys, with a token throughout", "sys/rotate/root", "sys/rotate/recovery",
		"Unlike rekey, each step needs a token, beside the unseal keys.")
}

func rekeyCommand(use, short, unsealPath, recoveryPath, who string) command {
	f := &rekeyFlags{unsealPath: unsealPath, recoveryPath: recoveryPath}
	verb, _, _ := strings.Cut(use, " ")
	return command{
		use: use, short: short, args: arity{0, 1},
		long: "Start with -init, then give the unseal keys that are to be replaced, one at a time,\n" +
			"until there are enough; the last one is answered with the new keys, which nobody can\n" +
			"show again. " + who + "\n\n" +
			"With -verify at the start, the old keys work until enough of the new ones were\n" +
			"given with -verify. Without KEY it is asked for, hidden. Prefer that: arguments stay\n" +
			"in the shell's history.",
		example: "operator " + verb + " -init -key-shares=5 -key-threshold=3 -verify\noperator " + verb + "\noperator " + verb + " -verify\noperator " + verb + " -cancel",
		flags:   f.add,
		run:     connected(func(c *call, cl *client.Client) error { return c.rekey(cl, f) }),
	}
}

func (r *rekeyFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&r.init, "init", false, "start")
	f.BoolVar(&r.cancel, "cancel", false, "give up; the old keys stay. With -verify, forget only the new keys given so far")
	f.BoolVar(&r.status, "status", false, "tell how far it has come")
	f.BoolVar(&r.verify, "verify", false, "with -init, have the new keys verified; else, give a new key to verify it")
	f.IntVarP(&r.shares, "key-shares", "n", 5, "`number` of new keys to make")
	f.IntVarP(&r.threshold, "key-threshold", "t", 3, "`number` of new keys needed")
	f.StringVar(&r.nonce, "nonce", "", "`nonce` of the operation; by default that of the one in progress")
	f.StringVar(&r.target, "target", "barrier", "`keys` to replace: barrier or recovery")
	f.StringVar(&r.slot, "slot", "", "`id` of the key slot whose keys to replace; by default the first")
	f.StringSliceVar(&r.pgpKeys, "pgp-keys", nil, "public `keys` to encrypt the new keys to, one for each: files with OpenPGP keys, or age recipients")
	f.BoolVar(&r.backup, "backup", false, "keep the encrypted new keys on the server")
	f.BoolVar(&r.backupRetrieve, "backup-retrieve", false, "print the keys that -backup has kept")
	f.BoolVar(&r.backupDelete, "backup-delete", false, "delete the keys that -backup has kept")
}

// path is an endpoint for the keys meant.
func (r *rekeyFlags) path(end string) (string, error) {
	switch r.target {
	case "barrier", "root":
		return r.unsealPath + "/" + end, nil
	case "recovery":
		return r.recoveryPath + "/" + end, nil
	}
	return "", usagef("-target: must be barrier or recovery")
}

// backupPath is where the encrypted keys are kept.
func (r *rekeyFlags) backupPath() (string, error) {
	if r.target == "recovery" {
		return "sys/rotate/recovery/backup", nil
	}
	_, err := r.path("backup")
	return "sys/rotate/root/backup", err
}

func (c *call) rekey(cl *client.Client, f *rekeyFlags) error {
	if f.backupRetrieve || f.backupDelete {
		return c.rekeyBackup(cl, f)
	}
	end := "init"
	if f.verify && !f.init {
		end = "verify"
	}
	path, err := f.path(end)
	if err != nil {
		return err
	}
	switch {
	case f.init:
		return c.rekeyInit(cl, f, path)
	case f.cancel:
		return c.cancelCeremony(cl, path, f.nonce)
	case f.status:
		return c.ceremonyStatus(cl, path)
	}
	return c.rekeyGive(cl, f, path)
}

func (c *call) rekeyInit(cl *client.Client, f *rekeyFlags, path string) error {
	keys, err := c.publicKeys(f.pgpKeys)
	if err != nil {
		return err
	}
	body := map[string]any{"secret_shares": f.shares, "secret_threshold": f.threshold, "pgp_keys": keys,
		"backup": f.backup, "require_verification": f.verify}
	if f.slot != "" {
		body["slot"] = f.slot
	}
	cl, err = c.prove(cl, body)
	if err != nil {
		return err
	}
	s, err := cl.Write(c.ctx, path, body)
	if err != nil {
		return failed(err, "starting to replace the keys")
	}
	return c.ceremony(s, "Started. Give the keys that are to be replaced, one at a time, to the same command.\n"+
		"Compare the nonce with those who give one: it tells this operation from another.")
}

// rekeyGive gives an old key or, at verify, a new one.
func (c *call) rekeyGive(cl *client.Client, f *rekeyFlags, status string) error {
	nonce, err := c.ceremonyNonce(cl, status, f.nonce)
	if err != nil {
		return err
	}
	key, err := c.keyGiven("Key share")
	if err != nil {
		return err
	}
	update := status
	if !f.verify {
		if update, err = f.path("update"); err != nil {
			return err
		}
	}
	s, err := cl.Write(c.ctx, update, map[string]any{"key": key, "nonce": nonce})
	if err != nil {
		return failed(err, "giving a key")
	}
	return c.ceremony(s, rekeyed(s.Data, f.verify))
}

// rekeyed is what there is to say about an answer.
func rekeyed(data map[string]any, verifying bool) string {
	switch complete := data["complete"] == true; {
	case !complete:
		return "More keys are needed."
	case verifying:
		return "Success! The new keys are verified, and the old ones are of no use any more."
	case data["verification_required"] == true:
		return "These are the new keys. Nobody can show them again: hand them to their keepers. The\n" +
			"old ones work until enough of these were given with -verify."
	}
	return "Success! These are the new keys. Nobody can show them again: hand them to their\n" +
		"keepers. The old ones are of no use any more."
}

func (c *call) rekeyBackup(cl *client.Client, f *rekeyFlags) error {
	path, err := f.backupPath()
	if err != nil {
		return err
	}
	if f.backupDelete {
		if _, err := cl.Delete(c.ctx, path, nil); err != nil {
			return failed(err, "deleting the keys kept")
		}
		return c.say("Success! The encrypted keys were deleted, if there were any.")
	}
	s, err := cl.Read(c.ctx, path, nil)
	if err != nil {
		return failed(err, "reading the keys kept")
	}
	return c.secret(s)
}

// prove puts a key that was given into the body; it then speaks instead of a
// token, which may be the one that was lost.
func (c *call) prove(cl *client.Client, body map[string]any) (*client.Client, error) {
	if len(c.args) == 0 {
		return cl, nil
	}
	key, err := c.keyGiven("Key share")
	body["key"] = key
	return cl.WithToken(""), err
}

// keyGiven is the argument or, without one or with -, what is asked for.
func (c *call) keyGiven(what string) (string, error) {
	if len(c.args) == 1 && c.args[0] != "-" {
		return c.args[0], nil
	}
	return c.askSecret(what)
}

// ceremonyNonce is the nonce given, or that of what is in progress.
func (c *call) ceremonyNonce(cl *client.Client, path, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	s, err := cl.Read(alwaysSent(c.ctx), path, nil)
	if err != nil {
		return "", failed(err, "asking for the operation in progress")
	}
	if s.Data["started"] != true {
		return "", &exit{exitLocal, "Error: no such operation is in progress", "start one with -init"}
	}
	return fmt.Sprint(s.Data["nonce"]), nil
}

func (c *call) ceremonyStatus(cl *client.Client, path string) error {
	s, err := cl.Read(c.ctx, path, nil)
	if err != nil {
		return failed(err, "asking for the status")
	}
	return c.ceremony(s, "")
}

func (c *call) cancelCeremony(cl *client.Client, path, nonce string) error {
	body := map[string]any{}
	if nonce != "" {
		body["nonce"] = nonce
	}
	cl, err := c.prove(cl, body)
	if err != nil {
		return err
	}
	req := client.Request{Method: http.MethodDelete, Path: path}
	if len(body) > 0 {
		req.Body = body
	}
	if _, err := cl.Do(c.ctx, req); err != nil {
		return failed(err, "cancelling")
	}
	return c.say("Success! Canceled, if it was started.")
}

// ceremonyRows are the fields people read, in their order.
var ceremonyRows = [...][2]string{
	{"nonce", "Nonce"}, {"started", "Started"}, {"complete", "Complete"}, {"t", "New Threshold"}, {"n", "New Shares"},
	{"pgp_fingerprint", "PGP Fingerprint"}, {"pgp_fingerprints", "PGP Fingerprints"}, {"verification_required", "Verification Required"},
	{"verification_nonce", "Verification Nonce"}, {"backup", "Backup"}, {"slot", "Key Slot"}, {"otp", "OTP"}, {"otp_length", "OTP Length"}, {"encoded_token", "Encoded Token"},
}

// ceremony shows how far an operation has come, the new keys, and a closing word.
func (c *call) ceremony(s *client.Secret, word string) error {
	c.warn(s)
	return c.show(s.Data, s.Data, func() error {
		text := columns(ceremonyTable(s.Data))
		keys, _ := s.Data["keys_base64"].([]any)
		for i, k := range keys {
			text += fmt.Sprintf("\nKey %d: %v", i+1, k)
		}
		if word != "" {
			text = strings.TrimRight(text, "\n") + "\n\n" + word
		}
		return c.println(text)
	})
}

func ceremonyTable(data map[string]any) [][]string {
	var rows [][]string
	for _, field := range ceremonyRows {
		v, ok := data[field[0]]
		if !ok || v == nil || v == "" {
			continue
		}
		rows = append(rows, []string{field[1], fmt.Sprint(v)})
	}
	needed := data["required"]
	if needed == nil {
		needed = data["t"]
	}
	if p := data["progress"]; p != nil && needed != nil {
		rows = append(rows, []string{"Progress", fmt.Sprintf("%v/%v", p, needed)})
	}
	return rows
}

// publicKeys reads what -pgp-keys names: age recipients stand for themselves,
// anything else is a file.
func (c *call) publicKeys(names []string) ([]string, error) {
	keys := []string{}
	for _, name := range names {
		key, err := publicKey(name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// publicKey is a key as the server reads it: text as it is, binary in base64.
func publicKey(name string) (string, error) {
	if strings.HasPrefix(name, "age1") || strings.HasPrefix(name, "keybase:") {
		return name, nil // the server says that it takes no keybase names
	}
	raw, err := os.ReadFile(strings.TrimPrefix(name, "@"))
	if err != nil {
		return "", usagef("reading a public key: %w", err)
	}
	if utf8.Valid(raw) {
		return strings.TrimSpace(string(raw)), nil
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}
