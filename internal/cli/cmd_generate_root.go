package cli

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

const (
	generatePath = "sys/generate-root/attempt"
	generateGive = "sys/generate-root/update"
)

// generateFlags are those of operator generate-root.
type generateFlags struct {
	init, cancel, status, generateOTP bool
	otp, decode, nonce, pgpKey, slot  string
}

func operatorGenerateRoot() command {
	g := &generateFlags{}
	return command{
		use: "generate-root [KEY]", short: "Make a root token with unseal keys", args: arity{0, 1},
		long: "Start with -init: it prints a one-time pad. Then give unseal keys (or recovery keys) one\n" +
			"at a time, until there are enough; the last one is answered with the token,\n" +
			"encoded. Decode it with -decode and the pad.\n\n" +
			"-init and -cancel need a token with sudo or, when that is lost, an unseal key as KEY, or -\n" +
			"to read it. Without KEY it is asked for, hidden. Prefer that: arguments stay in the\n" +
			"shell's history.",
		example: "operator generate-root -init\noperator generate-root\noperator generate-root -decode=ENCODED -otp=PAD",
		flags:   g.add,
		run:     connected(func(c *call, cl *client.Client) error { return c.generateRoot(cl, g) }),
	}
}

func (g *generateFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&g.init, "init", false, "start")
	f.BoolVar(&g.cancel, "cancel", false, "give up")
	f.BoolVar(&g.status, "status", false, "tell how far it has come")
	f.StringVar(&g.decode, "decode", "", "decode this `token` with -otp; - reads it")
	f.BoolVar(&g.generateOTP, "generate-otp", false, "print a one-time pad for -init -otp")
	f.StringVar(&g.otp, "otp", "", "one-time `pad`; - reads it")
	f.StringVar(&g.pgpKey, "pgp-key", "", "public `key` to encrypt the token to: a file with an OpenPGP key, or an age recipient")
	f.StringVar(&g.nonce, "nonce", "", "`nonce` of the operation; by default that of the one in progress")
	f.StringVar(&g.slot, "slot", "", "`id` of the key slot whose keys count; by default the first")
}

func (c *call) generateRoot(cl *client.Client, g *generateFlags) error {
	switch {
	case g.decode != "":
		return c.decodeRoot(g)
	case g.generateOTP:
		return c.generateOTP(cl)
	case g.init:
		return c.generateInit(cl, g)
	case g.cancel:
		return c.cancelCeremony(cl, generatePath, g.nonce)
	case g.status:
		return c.ceremonyStatus(cl, generatePath)
	}
	return c.generateGive(cl, g)
}

func (c *call) generateInit(cl *client.Client, g *generateFlags) error {
	body := map[string]any{"otp": g.otp}
	if g.pgpKey != "" {
		key, err := publicKey(g.pgpKey)
		if err != nil {
			return err
		}
		body["pgp_key"] = key
	}
	if g.slot != "" {
		body["slot"] = g.slot
	}
	cl, err := c.prove(cl, body)
	if err != nil {
		return err
	}
	s, err := cl.Write(c.ctx, generatePath, body)
	if err != nil {
		return failed(err, "starting to make a root token")
	}
	return c.ceremony(s, "Started. Give unseal keys, one at a time, to the same command.\n"+
		"Compare the nonce with those who give one: it tells this operation from another.")
}

func (c *call) generateGive(cl *client.Client, g *generateFlags) error {
	nonce, err := c.ceremonyNonce(cl, generatePath, g.nonce)
	if err != nil {
		return err
	}
	key, err := c.keyGiven("Key share")
	if err != nil {
		return err
	}
	s, err := cl.Write(c.ctx, generateGive, map[string]any{"key": key, "nonce": nonce})
	if err != nil {
		return failed(err, "giving a key")
	}
	word := "More keys are needed."
	if s.Data["complete"] == true {
		word = "Success! Who started can decode the token: -decode and -otp, or the private key."
	}
	return c.ceremony(s, word)
}

// otpDigits are what a one-time pad is made of: 64, so that a byte chooses evenly.
const otpDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// generateOTP prints a pad as long as the server's tokens.
func (c *call) generateOTP(cl *client.Client) error {
	s, err := cl.Read(c.ctx, generatePath, nil)
	if err != nil {
		return failed(err, "asking how long a token is")
	}
	length := 0
	if _, err := fmt.Sscan(fmt.Sprint(s.Data["otp_length"]), &length); err != nil || length < 1 || length > 1<<10 {
		return fmt.Errorf("the server does not say how long a token is")
	}
	pad := make([]byte, length)
	rand.Read(pad) // never fails: crypto/rand ends the process instead
	for i := range pad {
		pad[i] = otpDigits[pad[i]%64]
	}
	v := map[string]any{"otp": string(pad), "otp_length": length}
	return c.show(v, v, func() error { return c.println(string(pad)) })
}

// decodeRoot decodes a token; no server is asked.
func (c *call) decodeRoot(g *generateFlags) error {
	encoded, pad := g.decode, g.otp
	var err error
	if encoded == "-" {
		if encoded, err = c.askSecret("Encoded token"); err != nil {
			return err
		}
	}
	if pad == "" || pad == "-" && g.decode != "-" {
		if pad, err = c.askSecret("One-time pad"); err != nil {
			return err
		}
	}
	token, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return usagef("-decode: not the base64 that the last key was answered with")
	}
	if len(token) != len(pad) {
		return usagef("-otp: %d characters for a token of %d", len(pad), len(token))
	}
	subtle.XORBytes(token, token, []byte(pad))
	v := map[string]any{"token": string(token)}
	return c.show(v, v, func() error { return c.println(string(token)) })
}
