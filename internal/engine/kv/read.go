package kv

import (
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// readAttempts bounds how often a read begins anew because a write erased the
// payload between its two Gets.
const readAttempts = 8

// readVersion reads a version (0: the current one) with its payload. body is
// nil when the version cannot be read now: deleted, disabled or destroyed. It
// returns NotFound when there is no such secret or version.
func readVersion(c *api.Call, path string, number uint64) (s secret, v version, body []byte, err error) {
	for range readAttempts {
		s, v, err = describe(c, path, number)
		if err != nil || v.at(c.Now) != enabled {
			return s, v, nil, err
		}
		if body, err = readPayload(c, &v); !errors.Is(err, errGone) {
			break
		}
	}
	if errors.Is(err, errGone) {
		err = fmt.Errorf("version %d: %w: %w", v.number, store.ErrCorrupt, err)
	}
	if err != nil {
		err = fmt.Errorf("secret %q: %w", path, err)
	}
	return s, v, body, err
}

// describe reads a secret, without its other versions, and one version.
func describe(c *api.Call, path string, number uint64) (s secret, v version, err error) {
	b, err := row(c, path)
	if err != nil {
		return s, v, err
	}
	if b == nil {
		return s, v, api.ErrNotFound()
	}
	found, err := decodeVersion(b, number, &s, &v)
	if err != nil {
		return s, v, damaged(path, err)
	}
	if !found || s.hidden(c.Now) {
		return s, v, api.ErrNotFound()
	}
	return s, v, nil
}

// object is a payload as a JSON object, which is all that the key-value views
// can show: text is {"value":"…"}, other bytes are {"base64":"…"}.
func object(k kind, body []byte) api.Object {
	if k == kindJSON {
		return body
	}
	if k == kindText && utf8.Valid(body) {
		if quoted, err := jsontext.AppendQuote([]byte(`{"value":`), body); err == nil {
			return append(quoted, '}')
		}
	}
	b := append([]byte(`{"base64":"`), base64.StdEncoding.EncodeToString(body)...)
	return append(b, `"}`...)
}
