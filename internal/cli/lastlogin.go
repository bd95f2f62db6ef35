package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/strongroom/strongroom/client"
)

// loginFile in the home directory says how its owner last logged in.
const loginFile = ".strongroom-login"

// lastLogin is how somebody logged in: never with what.
type lastLogin struct {
	Method    string `json:"method"`
	Path      string `json:"path"` // of the mount
	Namespace string `json:"namespace,omitempty"`
	Username  string `json:"username,omitempty"`
	Role      string `json:"role,omitempty"`
	RoleID    string `json:"role_id,omitempty"` // of an AppRole that asks for a secret id, too
}

// remembers reports whether plain "login" is the last login again: not where the
// program stands in for another, whose plain login asks for a token.
func (a *app) remembers() bool { return a.guise.prefixes[0] == ownPrefix }

// lastLogin is how this user last logged in; nil when that is not known.
func (a *app) lastLogin() *lastLogin {
	path, err := a.inHome(loginFile)
	if err != nil || !a.remembers() {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parseLastLogin(raw)
}

// parseLastLogin is nil for what does not name a method that there is.
func parseLastLogin(raw []byte) *lastLogin {
	var last lastLogin
	if len(raw) > 4<<10 || json.Unmarshal(raw, &last) != nil {
		return nil
	}
	if _, ok := loginMethods()[last.Method]; !ok || cleanPath(last.Path) == "" || !oneLine(last.Path+last.Namespace+last.Username+last.Role+last.RoleID) {
		return nil
	}
	return &last
}

func oneLine(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// remember notes how the user has logged in, for the next time.
func (c *call) remember(last *lastLogin) error {
	if !c.remembers() || client.LookupEnv(c.getenv, "TOKEN_PATH") != "" {
		return nil
	}
	path, err := c.inHome(loginFile)
	if err != nil {
		return nil // nobody's home: there is nobody to remember it for
	}
	raw, err := json.Marshal(last)
	if err != nil {
		return err
	}
	if err := replaceFile(path, string(raw)); err != nil {
		return fmt.Errorf("remember the login: %w", err)
	}
	return nil
}

// again fills in what is not given from the last login, and says so. A path that is not the last login's may be of
// any method, and nothing of that login is for it.
func (c *call) again(l *loginFlags, cl *client.Client, args map[string]string) (*client.Client, error) {
	if l.method != "" {
		return cl, nil
	}
	l.method = "token"
	_, token := args["token"]
	last := c.lastLogin()
	usual := token || last == nil || last.Method == "token"
	switch {
	case l.path != "" && c.remembers() && !token && (usual || l.path != cleanPath(last.Path)):
		return nil, usagef("-path=%s needs -method=TYPE beside it", l.path)
	case usual:
		return cl, nil
	}
	l.method, l.path = last.Method, cleanPath(last.Path)
	for name, value := range map[string]string{"username": last.Username, "role": last.Role, "role_id": last.RoleID} {
		if _, given := args[name]; !given && value != "" {
			args[name] = value
		}
	}
	how := fmt.Sprintf("-method=%s -path=%s", l.method, l.path)
	if last.Namespace != "" && cl.Namespace() == "" {
		cl = cl.WithNamespace(last.Namespace)
		how += " -namespace=" + last.Namespace
	}
	for _, name := range []string{"username", "role", "role_id"} {
		if v := args[name]; v != "" {
			how += " " + name + "=" + v
		}
	}
	fmt.Fprintf(c.stderr, "Logging in as the last time: %s; for a token use -method=token.\n", printable(how))
	return cl, nil
}
