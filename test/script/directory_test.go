package script

import (
	"os"

	"github.com/rogpeppe/go-internal/testscript"

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
