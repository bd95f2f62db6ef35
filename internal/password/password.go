// Package password owns how passwords are kept: as slow hashes with a salt each, of
// which a bounded number is computed at once on a node.
//
// New forms are Argon2id (RFC 9106) with the parameters that OWASP recommends, 19 MiB of
// memory and two passes, about 30 ms of a processor; under FIPS 140-3 PBKDF2 with
// HMAC-SHA-256 (SP 800-132) and 600,000 rounds. Forms of bcrypt that were made elsewhere are
// checked too, except under FIPS, until the password is next seen.
//
// The memory that strangers' logins can take is Slots × 19 MiB, and what waits for a slot
// is bounded as well: what comes on top is refused.
package password

import (
	"context"
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/strongroom/strongroom/internal/api"
)

// Parameters of new forms.
const (
	argonMemory = 19 << 10 // KiB
	argonPasses = 2
	pbkdfRounds = 600_000
	saltBytes   = 16
	hashBytes   = 32
)

// Bounds of forms that are read. A form costs no more than these say, whoever wrote it.
const (
	maxForm       = 256
	maxPassword   = 4 << 10 // in bytes
	maxBcryptCost = 14
	maxRounds     = 2_000_000 // of PBKDF2: about as long as bcrypt of cost 14, which is within a second or so
)

// maxSlots bounds Slots, on machines with many processors.
const maxSlots = 8

// waiting is how many may wait for each slot: they are served within seconds.
const waiting = 64

// Slots is how many hashes are computed at once: one a processor, and at most 8, which take
// 152 MiB.
func Slots() int { return min(runtime.GOMAXPROCS(0), maxSlots) }

// Hasher implements api.Passwords. It is safe for concurrent use.
type Hasher struct {
	slots chan struct{} // holds one for each hash that is computed
	queue chan struct{} // holds one for each that is computed or waits
	fips  bool
}

// New is a hasher with a number of slots.
func New(slots int) *Hasher {
	return &Hasher{slots: make(chan struct{}, slots), queue: make(chan struct{}, slots*(1+waiting)), fips: fips140.Enabled()}
}

// within runs work in a slot.
func (h *Hasher) within(ctx context.Context, work func() error) error {
	select {
	case h.queue <- struct{}{}:
	default:
		return &api.Error{Kind: api.TooMany, Message: "too many passwords are being checked at the moment", Hint: "try again in a few seconds"}
	}
	defer func() { <-h.queue }()
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.slots }()
	return work()
}

// Hash implements api.Passwords.
func (h *Hasher) Hash(ctx context.Context, password api.Secret) (form string, err error) {
	if len(password.Reveal()) > maxPassword {
		return "", api.Errorf(api.Invalid, "password: longer than %d bytes", maxPassword)
	}
	err = h.within(ctx, func() error {
		salt := make([]byte, saltBytes)
		if _, err := rand.Read(salt); err != nil {
			return fmt.Errorf("password: salt: %w", err)
		}
		f := h.fresh(salt)
		sum, err := f.sum(password)
		if err != nil {
			return err
		}
		f.hash = sum
		form = f.String()
		return nil
	})
	return form, err
}

// fresh is a form that is made now, without its hash.
func (h *Hasher) fresh(salt []byte) *parsed {
	if h.fips {
		return &parsed{kind: kindPBKDF2, rounds: pbkdfRounds, salt: salt}
	}
	return &parsed{kind: kindArgon2, memory: argonMemory, rounds: argonPasses, salt: salt}
}

// Check implements api.Passwords. A form that cannot be checked, as one of bcrypt under
// FIPS, is of no password, after as much work.
func (h *Hasher) Check(ctx context.Context, form string, password api.Secret) (right, old bool, err error) {
	f, bad := parse(form)
	real := bad == nil && h.takes(f) && len(password.Reveal()) <= maxPassword
	if !real {
		f, password = h.fresh(make([]byte, saltBytes)), api.NewSecret("")
		f.hash = make([]byte, hashBytes)
	}
	err = h.within(ctx, func() error {
		right, err = f.matches(password)
		return err
	})
	if err != nil {
		return false, false, err
	}
	return right && real, right && real && h.old(f), nil
}

// takes reports whether a form's function may be computed in this process.
func (h *Hasher) takes(f *parsed) bool { return !h.fips || f.kind == kindPBKDF2 }

// old reports whether a form is weaker than a new one, or other.
func (h *Hasher) old(f *parsed) bool {
	now := h.fresh(nil)
	return f.kind != now.kind || f.rounds < now.rounds || f.memory < now.memory
}

// Take implements api.Passwords.
func (h *Hasher) Take(form api.Secret) (string, error) {
	f, err := parse(form.Reveal())
	switch {
	case err != nil:
		return "", api.Errorf(api.Invalid, "password_hash: %v", err)
	case !h.takes(f):
		return "", &api.Error{Kind: api.Invalid, Message: "password_hash: this function is not among those of FIPS 140-3", Hint: "give the password itself"}
	}
	return form.Reveal(), nil
}

// The functions of forms.
const (
	kindArgon2 = "argon2id"
	kindPBKDF2 = "pbkdf2-sha256"
	kindBcrypt = "bcrypt"
)

// parsed is a form in its parts: the PHC string format, or bcrypt's own.
type parsed struct {
	kind   string
	memory int // KiB
	rounds int // passes of Argon2, rounds of PBKDF2
	salt   []byte
	hash   []byte // of bcrypt: the whole form
}

var (
	errForm = errors.New("not a hash of bcrypt, nor one of Argon2id or PBKDF2 as they are kept here")
	errCost = errors.New("takes more work to check than is allowed")
)

func parse(form string) (*parsed, error) {
	switch {
	case len(form) > maxForm, strings.ContainsAny(form, "\r\n"): // which decoders of base64 pass over
		return nil, errForm
	case strings.HasPrefix(form, "$2"):
		return parseBcrypt(form)
	}
	parts := strings.Split(form, "$")
	f := &parsed{}
	switch {
	case len(parts) == 6 && parts[0] == "" && parts[1] == kindArgon2 && parts[2] == "v=19":
		f.kind = kindArgon2
		if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &f.memory, &f.rounds); err != nil || n != 2 || parts[3] != f.terms() {
			return nil, errForm
		}
	case len(parts) == 5 && parts[0] == "" && parts[1] == kindPBKDF2:
		f.kind = kindPBKDF2
		var err error
		if f.rounds, err = strconv.Atoi(strings.TrimPrefix(parts[2], "i=")); err != nil || parts[2] != f.terms() {
			return nil, errForm
		}
	default:
		return nil, errForm
	}
	return f.finish(parts[len(parts)-2], parts[len(parts)-1])
}

// finish reads salt and hash, and judges the cost.
func (f *parsed) finish(salt, hash string) (*parsed, error) {
	var err1, err2 error
	f.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(salt)
	f.hash, err2 = base64.RawStdEncoding.Strict().DecodeString(hash)
	switch {
	case err1 != nil || err2 != nil || len(f.salt) < saltBytes || len(f.hash) != hashBytes || f.rounds < 1:
		return nil, errForm
	case f.kind == kindArgon2 && (f.memory < 8 || f.memory > argonMemory || f.rounds > 16), f.rounds > maxRounds:
		return nil, errCost
	}
	return f, nil
}

func parseBcrypt(form string) (*parsed, error) {
	cost, err := bcrypt.Cost([]byte(form))
	switch {
	case err != nil || len(form) != 60:
		return nil, errForm
	case cost > maxBcryptCost:
		return nil, errCost
	}
	return &parsed{kind: kindBcrypt, hash: []byte(form)}, nil
}

func (f *parsed) terms() string {
	if f.kind == kindArgon2 {
		return fmt.Sprintf("m=%d,t=%d,p=1", f.memory, f.rounds)
	}
	return fmt.Sprintf("i=%d", f.rounds)
}

// String is the form as it is stored.
func (f *parsed) String() string {
	enc := base64.RawStdEncoding.EncodeToString
	head := "$" + f.kind
	if f.kind == kindArgon2 {
		head += "$v=19"
	}
	return head + "$" + f.terms() + "$" + enc(f.salt) + "$" + enc(f.hash)
}

// sum is a password's hash by the form's function.
func (f *parsed) sum(password api.Secret) ([]byte, error) {
	if f.kind == kindArgon2 {
		return argon2.IDKey([]byte(password.Reveal()), f.salt, uint32(f.rounds), uint32(f.memory), 1, hashBytes), nil
	}
	sum, err := pbkdf2.Key(sha256.New, password.Reveal(), f.salt, f.rounds, hashBytes)
	if err != nil {
		return nil, fmt.Errorf("password: PBKDF2: %w", err)
	}
	return sum, nil
}

// matches reports whether a password is the form's. Of bcrypt, 72 bytes count.
func (f *parsed) matches(password api.Secret) (bool, error) {
	if f.kind == kindBcrypt {
		text := []byte(password.Reveal())
		return bcrypt.CompareHashAndPassword(f.hash, text[:min(len(text), 72)]) == nil, nil
	}
	sum, err := f.sum(password)
	return subtle.ConstantTimeCompare(sum, f.hash) == 1, err
}
