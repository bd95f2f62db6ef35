package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
	"golang.org/x/term"

	"github.com/strongroom/strongroom/client"
)

func totpAdd() command {
	var e enrolment
	return command{
		use: "add", short: "Register an authenticator app", args: exactly(0),
		long: "The secret is shown once, at a terminal as a QR code, too, and is yours when you have typed a\n" +
			"passcode of it. With -registration-id no token is needed: an administrator has it from\n" +
			totpMethods + "/admin-register, and it is good once.",
		example: "mfa totp add -method-id=app\n# without a token, by a right that an administrator gave\nmfa totp add -registration-id=77d1…",
		flags:   e.flags("totp", "an app"),
		check: func(c *call) error {
			if c.flags.nonInteractive { // before a secret is shown that nobody confirms
				return usagef("a passcode of the new secret is needed, and -non-interactive forbids asking: programs use %s/register and finish, or sys/mfa/totp/register and finish", totpMethods)
			}
			return e.check(c)
		},
		run: connected(func(c *call, cl *client.Client) error {
			r, err := e.registration(c, cl, totpMethods, "sys/mfa/totp")
			if err != nil {
				return err
			}
			return r.totp()
		}),
	}
}

// totp registers an authenticator app.
func (r *registration) totp() error {
	s, err := r.cl.Write(r.ctx, r.begin, r.body)
	if err != nil {
		return failed(err, "beginning to register an app")
	}
	var shown struct {
		ID  string `json:"registration_id"`
		URL string `json:"url"`
	}
	if err := s.Decode(&shown); err != nil {
		return err
	}
	if err := showSecret(r.stderr, shown.URL); err != nil {
		return err
	}
	for try := 1; ; try++ {
		code, err := r.askSecret("Passcode that the app shows")
		if err != nil {
			return err
		}
		s, err = r.cl.Write(r.ctx, r.finish, map[string]string{"registration_id": shown.ID, "passcode": code})
		if err == nil {
			return r.say("Success! The app is registered. Its next passcode proves your login; this one has been used.")
		}
		if !errors.Is(err, client.ErrBadRequest) || !r.asksPeople() || try == passcodeTries {
			return failed(err, "registering the app")
		}
		fmt.Fprintln(r.stderr, "That is not the present passcode of this secret. Try again.")
	}
}

// showSecret shows the address of a secret, and to who sees a terminal its QR code.
func showSecret(w io.Writer, address string) error {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		code, err := qr.Encode(address, qr.L, qr.Auto)
		if err != nil {
			return fmt.Errorf("making a QR code: %w", err)
		}
		fmt.Fprintln(w, drawn(code))
	}
	_, err := fmt.Fprintf(w, "Take this into your authenticator app. It is shown once:\n\n    %s\n\n", printable(address))
	return err
}

// quiet is the light border that a QR code needs, in modules (ISO/IEC 18004).
const quiet = 4

// drawn is a QR code in text, two modules in a character, black on white whatever the colours of the terminal.
func drawn(code barcode.Barcode) string {
	size := code.Bounds().Dx()
	dark := func(x, y int) bool {
		if x < 0 || y < 0 || x >= size || y >= size {
			return false
		}
		r, _, _, _ := code.At(x, y).RGBA()
		return r == 0
	}
	var b strings.Builder
	for y := -quiet; y < size+quiet; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := -quiet; x < size+quiet; x++ {
			switch upper, lower := dark(x, y), dark(x, y+1); {
			case upper && lower:
				b.WriteString("█")
			case upper:
				b.WriteString("▀")
			case lower:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}
