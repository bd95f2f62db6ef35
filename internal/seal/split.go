package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
)

// Bounds of a set of shares. One share would be the secret itself, so a set of
// one is allowed only as such: threshold 1 of 1, as Vault's clients ask for it.
const (
	maxShares   = 255
	secretBytes = 32
)

// point is one value of the sharing polynomials: x, not zero, and a byte for each
// byte of the secret.
type point struct {
	x byte
	y [secretBytes]byte
}

// checkSplit refuses what cannot be shared.
func checkSplit(shares, threshold int) error {
	switch {
	case shares < 1 || shares > maxShares:
		return fmt.Errorf("seal: %d shares: choose 1 to %d", shares, maxShares)
	case threshold < 1 || threshold > shares:
		return fmt.Errorf("seal: a threshold of %d for %d shares: choose 1 to %d", threshold, shares, shares)
	case threshold == 1 && shares > 1:
		return fmt.Errorf("seal: a threshold of 1 makes each of %d shares the whole key: choose at least 2", shares)
	}
	return nil
}

// split shares a secret (Shamir, "How to share a secret", 1979): each byte is the
// value at 0 of a random polynomial of degree threshold-1, and each share a
// value at another place. Fewer than threshold shares say nothing about it.
func split(secret *[secretBytes]byte, shares, threshold int) ([]point, error) {
	if err := checkSplit(shares, threshold); err != nil {
		return nil, err
	}
	points, err := places(shares)
	if err != nil {
		return nil, err
	}
	coefficients := make([]byte, threshold)
	defer clear(coefficients)
	for i, s := range secret {
		coefficients[0] = s
		if _, err := rand.Read(coefficients[1:]); err != nil {
			return nil, fmt.Errorf("seal: reading random bytes: %w", err)
		}
		for n := range points {
			points[n].y[i] = evaluate(coefficients, points[n].x)
		}
	}
	return points, nil
}

// places chooses distinct random places other than zero, where the secret is.
func places(n int) ([]point, error) {
	var all [maxShares]byte
	for i := range all {
		all[i] = byte(i + 1)
	}
	points := make([]point, n)
	for i := range points {
		j, err := randomBelow(maxShares - i)
		if err != nil {
			return nil, err
		}
		points[i].x = all[j]
		all[j] = all[maxShares-1-i]
	}
	return points, nil
}

// randomBelow is a uniform number in [0, n), n at most 256.
func randomBelow(n int) (int, error) {
	var b [1]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("seal: reading random bytes: %w", err)
		}
		if int(b[0]) < 256-256%n {
			return int(b[0]) % n, nil
		}
	}
}

// evaluate is the polynomial's value at x, by Horner's rule.
func evaluate(coefficients []byte, x byte) byte {
	var y byte
	for i := len(coefficients) - 1; i >= 0; i-- {
		y = mul(y, x) ^ coefficients[i]
	}
	return y
}

var errPlaces = errors.New("seal: shares must lie at distinct places other than zero")

// combine interpolates at 0 (Lagrange). Too few points, or points of different
// sets, give a wrong secret: the caller knows how to tell.
func combine(points []point) (secret [secretBytes]byte, err error) {
	for i, p := range points {
		weight := byte(1)
		for j, q := range points {
			if i == j {
				continue
			}
			if p.x == q.x {
				return secret, errPlaces
			}
			weight = mul(weight, mul(q.x, inverse(q.x^p.x)))
		}
		if p.x == 0 {
			return secret, errPlaces
		}
		for b := range secret {
			secret[b] ^= mul(weight, p.y[b])
		}
	}
	return secret, nil
}
