// Package tools owns the small services under sys/tools that need no mount:
// random bytes and hashes, and the decoding of a new root token.
package tools

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"

	"github.com/strongroom/strongroom/internal/api"
)

// Desk serves the endpoints. It keeps nothing.
type Desk struct{}

// Routes are the endpoints under sys/.
func Routes() []api.Route[*Desk] {
	return []api.Route[*Desk]{
		api.Handle(api.Write, "tools/random", (*Desk).Random),
		api.Handle(api.Write, "tools/random/{choice}", (*Desk).RandomFrom),
		api.Handle(api.Write, "tools/random/{source}/{urlbytes}", (*Desk).RandomOf),
		api.Handle(api.Write, "tools/hash", (*Desk).Hash),
		api.Handle(api.Write, "tools/hash/{urlalgorithm}", (*Desk).HashBy),
		api.Handle(api.Write, "decode-token", (*Desk).DecodeToken, api.Public, api.RootOnly),
	}
}

// maxRandom is the most random bytes of one answer.
const maxRandom = 128 << 10

// RandomRequest asks for random bytes.
type RandomRequest struct {
	Bytes    int    `json:"bytes" default:"32"`      // How many bytes, up to 128 KiB.
	URLBytes string `json:"urlbytes"`                // The same, as clients give it that have it in the path.
	Format   string `json:"format" default:"base64"` // base64 or hex.
	Source   string `json:"source"`                  // platform, seal or all; each is the operating system's generator.
}

// RandomFromRequest asks for random bytes of a source.
type RandomFromRequest struct {
	Choice   string `path:"choice"`                  // platform, seal or all; or how many bytes.
	Source   string `json:"source"`                  // platform, seal or all, where the path says how many bytes.
	Bytes    int    `json:"bytes" default:"32"`      // How many bytes, up to 128 KiB.
	URLBytes string `json:"urlbytes"`                // The same, as clients give it that have it in the path.
	Format   string `json:"format" default:"base64"` // base64 or hex.
}

// RandomOfRequest asks for so many random bytes of a source.
type RandomOfRequest struct {
	Source   string `path:"source"`                  // platform, seal or all.
	URLBytes string `path:"urlbytes"`                // How many bytes, up to 128 KiB.
	Bytes    int    `json:"bytes"`                   // Means nothing beside the path.
	Format   string `json:"format" default:"base64"` // base64 or hex.
}

// RandomAnswer is random bytes.
type RandomAnswer struct {
	RandomBytes api.Disclosed `json:"random_bytes"` // in the format that was asked for
}

// Random answers random bytes, to be used as keys or passwords.
func (d *Desk) Random(_ *api.Call, q *RandomRequest) (*RandomAnswer, error) {
	return random(q.Source, q.URLBytes, q.Bytes, q.Format)
}

// RandomFrom answers random bytes of a source.
func (d *Desk) RandomFrom(_ *api.Call, q *RandomFromRequest) (*RandomAnswer, error) {
	if _, err := strconv.Atoi(q.Choice); err == nil {
		return random(q.Source, q.Choice, q.Bytes, q.Format)
	}
	return random(q.Choice, q.URLBytes, q.Bytes, q.Format)
}

// RandomOf answers so many random bytes of a source.
func (d *Desk) RandomOf(_ *api.Call, q *RandomOfRequest) (*RandomAnswer, error) {
	return random(q.Source, q.URLBytes, q.Bytes, q.Format)
}

func random(source, text string, n int, format string) (*RandomAnswer, error) {
	switch source {
	case "", "platform", "seal", "all":
	default:
		return nil, &api.Error{Kind: api.Invalid, Message: "source: there is no such source", Hint: "one of platform, seal, all"}
	}
	if text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			return nil, api.Errorf(api.Invalid, "urlbytes: must be a whole number")
		}
	}
	if n < 1 || n > maxRandom {
		return nil, api.Errorf(api.Invalid, "bytes: must be from 1 to %d", maxRandom)
	}
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	out, err := encode(b, format)
	return &RandomAnswer{api.Disclosed(out)}, err
}

func encode(b []byte, format string) (string, error) {
	switch format {
	case "hex":
		return hex.EncodeToString(b), nil
	case "base64":
		return base64.StdEncoding.EncodeToString(b), nil
	}
	return "", &api.Error{Kind: api.Invalid, Message: "format: there is no such format", Hint: "hex or base64"}
}

// HashRequest asks for a hash.
type HashRequest struct {
	Input        string `json:"input"`                        // What to hash, in base64.
	Algorithm    string `json:"algorithm" default:"sha2-256"` // sha2-224, sha2-256, sha2-384, sha2-512, sha3-224, sha3-256, sha3-384 or sha3-512.
	URLAlgorithm string `json:"urlalgorithm"`                 // The same, as clients give it that have it in the path.
	Format       string `json:"format" default:"hex"`         // hex or base64.
}

// HashByRequest asks for a hash by an algorithm.
type HashByRequest struct {
	URLAlgorithm string `path:"urlalgorithm"`         // sha2-224, sha2-256, sha2-384, sha2-512, sha3-224, sha3-256, sha3-384 or sha3-512.
	Input        string `json:"input"`                // What to hash, in base64.
	Algorithm    string `json:"algorithm"`            // Means nothing beside the path.
	Format       string `json:"format" default:"hex"` // hex or base64.
}

// HashAnswer is a hash.
type HashAnswer struct {
	Sum string `json:"sum"` // in the format that was asked for
}

// Hash answers the cryptographic hash of the input (FIPS 180-4 and 202).
func (d *Desk) Hash(_ *api.Call, q *HashRequest) (*HashAnswer, error) {
	if q.URLAlgorithm != "" {
		return hashed(q.URLAlgorithm, q.Input, q.Format)
	}
	return hashed(q.Algorithm, q.Input, q.Format)
}

// HashBy answers the hash of the input by the algorithm in the path.
func (d *Desk) HashBy(_ *api.Call, q *HashByRequest) (*HashAnswer, error) {
	return hashed(q.URLAlgorithm, q.Input, q.Format)
}

func hashed(algorithm, input, format string) (*HashAnswer, error) {
	h := hashOf(algorithm)
	if h == nil {
		return nil, &api.Error{Kind: api.Invalid, Message: "algorithm: there is no such algorithm", Hint: "sha2- or sha3-, and 224, 256, 384 or 512"}
	}
	raw, err := base64.StdEncoding.DecodeString(input)
	if err != nil {
		return nil, api.Errorf(api.Invalid, "input: must be base64")
	}
	h.Write(raw)
	out, err := encode(h.Sum(nil), format)
	return &HashAnswer{out}, err
}

// hashOf is a new hash of an algorithm; nil: there is none of that name.
func hashOf(algorithm string) hash.Hash {
	switch algorithm {
	case "sha2-224":
		return sha256.New224()
	case "sha2-256":
		return sha256.New()
	case "sha2-384":
		return sha512.New384()
	case "sha2-512":
		return sha512.New()
	case "sha3-224":
		return sha3.New224()
	case "sha3-256":
		return sha3.New256()
	case "sha3-384":
		return sha3.New384()
	case "sha3-512":
		return sha3.New512()
	}
	return nil
}

// DecodeRequest is an encoded token and the pad it was encoded with.
type DecodeRequest struct {
	EncodedToken api.Secret `json:"encoded_token"` // The token as the generation of a root token has answered it.
	OTP          api.Secret `json:"otp"`           // The one-time pad of that generation.
}

// DecodeAnswer is a token.
type DecodeAnswer struct {
	Token api.Disclosed `json:"token"` // in clear
}

// DecodeToken takes the one-time pad off a new root token. It needs nothing that
// the caller has not given, and gives nothing that he could not work out.
func (d *Desk) DecodeToken(_ *api.Call, q *DecodeRequest) (*DecodeAnswer, error) {
	raw, err := base64.RawStdEncoding.DecodeString(q.EncodedToken.Reveal())
	if err != nil {
		return nil, api.Errorf(api.Invalid, "encoded_token: must be base64 without padding")
	}
	pad := []byte(q.OTP.Reveal())
	if len(raw) == 0 || len(pad) != len(raw) {
		return nil, &api.Error{Kind: api.Invalid, Message: "otp: has not the length of the token", Hint: "give the pad that the start of the generation has answered"}
	}
	subtle.XORBytes(raw, raw, pad)
	return &DecodeAnswer{api.Disclosed(raw)}, nil
}
