package wrapping

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
)

// jwtKeyRow is the key that signs wrapping tokens in JWT form (RFC 7519), as PKCS
// #8: one for all nodes, made when it is first needed. A signature says that the
// token comes from this cluster and nothing more: the claim jti is the token, which
// is looked up like any other, so that who had the key could still open nothing.
// It is therefore read when it is needed and never kept in memory.
const jwtKeyRow = namespace.RootID + "/wrapping-jwt/key"

// MaxJWT bounds a wrapping token in JWT form, in bytes. Longer ones are refused
// unread.
const MaxJWT = 4 << 10

// jwtType is the claim that tells these from other tokens a key might sign.
const jwtType = "wrapping"

// errNoKey is a cluster that has never made a wrapping token in JWT form.
var errNoKey = errors.New("wrapping: no key for the JWT form")

// claims are what a wrapping token in JWT form says, as clients of Vault know it.
type claims struct {
	Accessor string           `json:"accessor"`
	Address  string           `json:"addr"` // where the answer can be taken out
	Expires  *jwt.NumericDate `json:"exp"`
	Issued   *jwt.NumericDate `json:"iat"`
	ID       string           `json:"jti"` // the wrapping token
	Type     string           `json:"type"`
}

// jwtForm reports whether a text is to be read as a JWT: a wrapping token has
// neither two dots nor the beginning of a JSON object in base64url.
func jwtForm(text string) bool {
	return strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2
}

// toJWT gives a wrapping token that was just issued its JWT form.
func (s *Store) toJWT(key *ecdsa.PrivateKey, info *api.WrapInfo) error {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES512, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return fmt.Errorf("wrapping: signing: %w", err)
	}
	text, err := jwt.Signed(signer).Claims(claims{Accessor: info.Accessor, Address: s.address, Issued: date(info.CreationTime.Unix()),
		Expires: date(info.CreationTime.Add(info.TTL + time.Second - 1).Unix()), ID: info.Token.Reveal(), Type: jwtType}).Serialize()
	if err != nil {
		return fmt.Errorf("wrapping: signing: %w", err)
	}
	info.Token = api.NewSecret(text)
	return nil
}

func date(seconds int64) *jwt.NumericDate { return new(jwt.NumericDate(seconds)) }

// fromJWT is the wrapping token that a text in JWT form holds. Whatever this
// cluster has not signed as one, or has expired, gets the one refusal.
func (s *Store) fromJWT(ctx context.Context, text string, now time.Time) (string, error) {
	if len(text) > MaxJWT {
		return "", errToken()
	}
	signed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES512})
	if err != nil {
		return "", errToken()
	}
	key, err := s.jwtKey(ctx)
	if errors.Is(err, errNoKey) {
		return "", errToken()
	}
	if err != nil {
		return "", err
	}
	var c claims
	if err := signed.Claims(&key.PublicKey, &c); err != nil || c.Type != jwtType || c.Expires == nil || !now.Before(c.Expires.Time()) {
		return "", errToken()
	}
	return c.ID, nil
}

// jwtKey reads the key, or returns errNoKey.
func (s *Store) jwtKey(ctx context.Context) (*ecdsa.PrivateKey, error) {
	e, err := s.store.Get(ctx, jwtKeyRow)
	if err != nil {
		return nil, err
	}
	return parseKey(e)
}

func parseKey(e store.Entry) (*ecdsa.PrivateKey, error) {
	if !e.Exists() {
		return nil, errNoKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(e.Value)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P521() {
		return nil, fmt.Errorf("wrapping: the key for the JWT form cannot be read: %w", store.ErrCorrupt)
	}
	return key, nil
}

// signingKey is the key, which it makes if there is none yet. Of nodes that make
// one at once, all go on with the one that was committed.
func (s *Store) signingKey(ctx context.Context) (key *ecdsa.PrivateKey, err error) {
	if key, err = s.jwtKey(ctx); !errors.Is(err, errNoKey) {
		return key, err
	}
	_, err = store.Update(ctx, s.store, func(tx *store.Tx) error {
		e, err := tx.Get(jwtKeyRow)
		if err != nil {
			return err
		}
		if key, err = parseKey(e); !errors.Is(err, errNoKey) {
			return err
		}
		if key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader); err != nil {
			return fmt.Errorf("wrapping: making the key for the JWT form: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fmt.Errorf("wrapping: encoding the key for the JWT form: %w", err)
		}
		tx.Put(jwtKeyRow, der)
		return nil
	})
	return key, err
}
