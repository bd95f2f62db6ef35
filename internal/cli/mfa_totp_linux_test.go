package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/boombuler/barcode/qr"
)

const otpauth = "otpauth://totp/Acme:ann?algorithm=SHA1&digits=6&issuer=Acme&period=30&secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// methodID has the form of identifiers.
const methodID = "8f3c0000-0000-4000-8000-000000000001"

// TestMethodByName: a method is found by its name, whatever its case, where the token may list them.
func TestMethodByName(t *testing.T) {
	const list = "GET identity/mfa/method/webauthn?list=true"
	methods := data(`{"keys":["a"],"key_info":{"a":{"name":""},"` + methodID + `":{"name":"Keys"}}}`)
	listed := "GET identity/mfa/method/webauthn/" + methodID + "/passkey?list=true"
	for _, tc := range []struct {
		given  string
		answer answer
		asked  []string
		stderr string
		code   int
	}{
		{"keys", methods, []string{list, listed}, "", exitOK},
		{methodID, methods, []string{listed}, "", exitOK},
		{"other", methods, []string{list}, "no method is called other here", exitServer},
		{"keys", refused(403, "permission denied"), []string{list}, "give its identifier", exitServer},
		{"keys", answer{404, `{"errors":[]}`}, []string{list}, "no method is called keys here", exitServer},
	} {
		f := newFake(t, map[string]answer{list: tc.answer, listed: data(`{"keys":[],"key_info":{}}`)})
		r := run(t, f, t.TempDir(), "mfa passkey list -method-id="+tc.given)
		if r.code != tc.code || !slices.Equal(f.requests, tc.asked) || !strings.Contains(r.stderr, tc.stderr) {
			t.Errorf("%s: exit code %d, asked %q: %s%s", tc.given, r.code, f.requests, r.stdout, r.stderr)
		}
	}
}

// TestTOTPAdd shows a secret and asks for a passcode of it, with a token or by a right without one.
func TestTOTPAdd(t *testing.T) {
	for _, tc := range []struct {
		flag, want string
		answers    []string
		code       int
	}{
		{"-method-id=" + methodID, `t identity/mfa/method/totp/register {"method_id":"` + methodID + `"}`, []string{"222222"}, exitOK},
		{"-registration-id=r", ` sys/mfa/totp/register {"registration_id":"r"}`, []string{"111111", "222222"}, exitOK},
		{"-method-id=" + methodID, `t identity/mfa/method/totp/register {"method_id":"` + methodID + `"}`, []string{"1", "2", "3"}, exitServer},
	} {
		var sent []string
		f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			path := strings.TrimPrefix(r.URL.Path, "/v1/")
			sent = append(sent, r.Header.Get("X-Vault-Token")+" "+path+" "+string(body))
			switch {
			case strings.HasSuffix(path, "/register"):
				io.WriteString(w, `{"data":{"registration_id":"own","url":"`+otpauth+`"}}`)
			case strings.Contains(string(body), "222222"):
				w.WriteHeader(http.StatusNoContent)
			default:
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, `{"errors":["passcode: not the present one"]}`)
			}
		}))
		keys, tty := pty(t)
		go io.Copy(io.Discard, keys) //nolint:errcheck // ends in an error once the terminal is closed
		env := map[string]string{"HOME": t.TempDir(), "STRONGROOM_ADDR": f.URL, "STRONGROOM_TOKEN": "t"}
		var out, errs bytes.Buffer
		asks := &answering{keys: keys, answers: tc.answers}
		code := Main([]string{"strongroom", "mfa", "totp", "add", tc.flag}, tty, &out, io.MultiWriter(&errs, asks), func(k string) string { return env[k] })
		f.Close()
		last := `finish {"passcode":"` + tc.answers[len(tc.answers)-1] + `","registration_id":"own"}`
		if code != tc.code || len(sent) != 1+len(tc.answers) || sent[0] != tc.want || !strings.HasSuffix(sent[len(sent)-1], last) || !strings.Contains(errs.String(), otpauth) {
			t.Errorf("%s, %v: exit code %d, sent %q: %s%s", tc.flag, tc.answers, code, sent, out.String(), errs.String())
		}
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
	}
	f := newFake(t, nil)
	for _, line := range []string{"mfa totp add", "mfa totp add -method-id=m -registration-id=r", "mfa totp add -non-interactive -method-id=m"} {
		if r := run(t, f, t.TempDir(), line); r.code != exitLocal || len(f.requests) != 0 {
			t.Errorf("%s: exit code %d, sent %q: %s", line, r.code, f.requests, r.stderr)
		}
	}
}

// TestQRCodeIsDrawn reads the drawing again: each module is there, within a light border.
func TestQRCodeIsDrawn(t *testing.T) {
	code, err := qr.Encode(otpauth, qr.L, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	size := code.Bounds().Dx()
	lines := strings.Split(strings.TrimSuffix(drawn(code), "\n"), "\n")
	if len(lines) != (size+2*quiet+1)/2 {
		t.Fatalf("%d lines for %d modules", len(lines), size)
	}
	for n, line := range lines {
		row := []rune(strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[30;107m"), "\x1b[0m"))
		if len(row) != size+2*quiet {
			t.Fatalf("line %d has %d modules", n, len(row))
		}
		for x, r := range row {
			for half, dark := range []bool{r == '█' || r == '▀', r == '█' || r == '▄'} {
				mx, my := x-quiet, 2*n+half-quiet
				want := false
				if mx >= 0 && my >= 0 && mx < size && my < size {
					red, _, _, _ := code.At(mx, my).RGBA()
					want = red == 0
				}
				if dark != want {
					t.Fatalf("module %d, %d is dark: %v", mx, my, dark)
				}
			}
		}
	}
}
