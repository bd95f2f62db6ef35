package script

import (
	"strconv"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"
)

// passcodeCommand is an authenticator app: it sets a variable to the passcode of a secret, so
// many periods from now.
func passcodeCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 3, "passcode NAME OTPAUTH-ADDRESS PERIODS")
	key, err := otp.NewKeyFromURL(args[1])
	ts.Check(err)
	ahead, err := strconv.Atoi(args[2])
	ts.Check(err)
	at := time.Now().Add(time.Duration(ahead) * time.Duration(key.Period()) * time.Second)
	code, err := totp.GenerateCodeCustom(key.Secret(), at, totp.ValidateOpts{Period: uint(key.Period()), Digits: key.Digits(), Algorithm: key.Algorithm()})
	ts.Check(err)
	ts.Setenv(args[0], code)
}
