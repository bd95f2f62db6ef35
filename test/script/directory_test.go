package script

import (
	"errors"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/strongroom/strongroom/test/freeradius"
	"github.com/strongroom/strongroom/test/slapd"
)

// directoryCommand starts a directory, or ends it.
func directoryCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 0, "directory [down]")
	s := of(ts)
	if len(args) > 0 {
		ts.Check(s.directory.Remove())
		s.directory = nil
		return
	}
	d, err := slapd.Start()
	ts.Check(err)
	s.directory = d
	ca := ts.MkAbs("directory.pem")
	ts.Check(os.WriteFile(ca, []byte(d.CA), 0o600))
	for name, value := range map[string]string{"LDAP_URL": d.SecureURL, "LDAP_CA": ca, "LDAP_READER": slapd.Reader, "LDAP_PASSWORD": slapd.Password,
		"LDAP_PEOPLE": slapd.People, "LDAP_GROUPS": slapd.Groups} {
		ts.Setenv(name, value)
	}
}

// radiusCommand starts a RADIUS server.
func radiusCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 0, "radius")
	r, err := freeradius.Start()
	ts.Check(err)
	of(ts).radius = r
	for name, value := range map[string]string{"RADIUS_HOST": r.Host, "RADIUS_PORT": strconv.Itoa(r.Port), "RADIUS_SECRET": freeradius.Secret, "RADIUS_PASSWORD": freeradius.Password} {
		ts.Setenv(name, value)
	}
}

// closeOthers ends what people are known to.
func (s *session) closeOthers() error {
	var err error
	if s.directory != nil {
		err = s.directory.Remove()
	}
	if s.radius != nil {
		err = errors.Join(err, s.radius.Remove())
	}
	return err
}
