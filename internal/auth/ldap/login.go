package ldap

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// LoginRequest logs in by a name and a password of the directory.
type LoginRequest struct {
	Username string     `path:"username"` // Name of the account.
	Password api.Secret `json:"password"` // Its password.
}

// known is what a renewal needs to know of a login.
type known struct {
	Name  string `json:"name"` // for the directory to look for
	Alias string `json:"alias"`
	Stamp string `json:"stamp"`
}

// errWrong is the answer to a wrong name or password, to an account that is locked,
// and to a name that is of several.
func errWrong(p *person) error {
	why := errUnproved
	switch {
	case p == nil:
		why = errAbsent
	case p.banned:
		why = errBanned
	}
	return &api.Error{Kind: api.Invalid, Message: "ldap operation failed: the directory does not let this name and password in", Err: why}
}

// Why somebody is not let in, for the log alone.
var (
	errAbsent   = errors.New("the search with userdn, userattr and userfilter finds no single account of the name")
	errBanned   = errors.New("the directory says that the account is disabled, locked or has ended")
	errUnproved = errors.New("the directory refuses the name with the password")
)

// errNameless is said to who has proved to be somebody without a name of their own.
func errNameless() error {
	return &api.Error{Kind: api.Invalid, Message: "ldap operation failed: the directory has no single name for this account",
		Hint: "userattr must be an attribute that each account has once, that no two share, and that accounts may read of themselves"}
}

func errUnset() error {
	return api.Errorf(api.Invalid, "ldap operation failed: the method is not configured")
}

// checkPassword refuses what a directory could take for no password at all (RFC 4513,
// section 5.1.2), before it is asked.
func checkPassword(s api.Secret) error {
	text := s.Reveal()
	if strings.TrimSpace(text) == "" || strings.Contains(text, "\x00") {
		return api.Errorf(api.Invalid, "password: is empty, or holds a NUL")
	}
	if len(text) > maxSetting {
		return api.Errorf(api.Invalid, "password: is longer than %d bytes", maxSetting)
	}
	return nil
}

// login lets in who knows the password of an account in the directory.
func (engine) login(c *api.Call, q *LoginRequest) (*api.Auth, error) {
	cfg, err := settings(stored(c))
	switch {
	case err != nil:
		return nil, err
	case cfg == nil:
		return nil, errUnset()
	case !api.Within(c.Remote, cfg.Token.BoundCIDRs):
		return nil, api.Deny(errors.New("the client's address is not in token_bound_cidrs of the configuration"))
	}
	name, err := spell(q.Username)
	if err != nil {
		return nil, err
	}
	if !cfg.CaseSensitive { // where the directory minds it, accounts that differ by case are not one person
		name = strings.ToLower(name)
	}
	if err := checkPassword(q.Password); err != nil {
		return nil, err
	}
	d, err := cfg.open(c)
	if err != nil {
		return nil, err
	}
	defer d.close()
	p, err := d.enter(c, name, q.Password)
	if err != nil {
		return nil, err
	}
	return d.admit(c, p, name)
}

// enter is who a name and a password are of.
func (d *directory) enter(c *api.Call, name string, password api.Secret) (*person, error) {
	if !d.cfg.searches() {
		return d.enterDirectly(c, name, password)
	}
	if err := d.serve(); err != nil {
		return nil, err
	}
	p, err := d.look(name, c.Now)
	if err != nil {
		return nil, err
	}
	account := fold(name)
	if p != nil && p.alias != "" {
		account = p.alias
	}
	ok, err := c.Attempt(account, func() (bool, error) { return d.try(p, password) })
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errWrong(p)
	}
	return p, d.serve() // what is left to ask: without an account to do so, as who has proved who they are
}

// try checks the password of an account, which may be nobody: the directory is then
// asked about one that it cannot have, so that the answer takes as many steps.
func (d *directory) try(p *person, password api.Secret) (bool, error) {
	if p == nil {
		none := "cn=nobody of this name,cn=nowhere"
		if d.cfg.UserDN != "" {
			none = "cn=nobody of this name," + d.cfg.UserDN
		}
		_, err := d.prove(none, api.NewSecret("not a password"))
		return false, err
	}
	ok, err := d.prove(p.dn, password)
	return ok && !p.banned, err
}

// enterDirectly binds as the name that an account must have, as nobody looks for it.
func (d *directory) enterDirectly(c *api.Call, name string, password api.Secret) (*person, error) {
	bound, err := d.cfg.guess(name)
	if err != nil {
		return nil, err
	}
	ok, err := c.Attempt(fold(name), func() (bool, error) { return d.prove(bound, password) })
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errWrong(&person{})
	}
	p, err := d.self(bound, name, c.Now)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return nil, errNameless()
	case p.banned:
		return nil, errWrong(p)
	}
	return p, nil
}

// admit is the answer for somebody who has proved who they are.
func (d *directory) admit(c *api.Call, p *person, name string) (*api.Auth, error) {
	cfg := d.cfg
	if p.alias == "" {
		return nil, errNameless()
	}
	switch alone, err := d.alone(p); {
	case err != nil:
		return nil, err
	case !alone:
		return nil, errNameless()
	}
	login := cfg.canonical(p.login)
	groups, policies, err := powers(c, d, p)
	if err != nil {
		return nil, err
	}
	auth := cfg.Token.Auth()
	auth.TokenPolicies = append(auth.TokenPolicies, policies...)
	auth.Renewable = cfg.searches()
	auth.DisplayName = c.DisplayName(login)
	auth.Metadata = map[string]string{"username": login}
	auth.Alias = &api.Alias{Name: p.alias, Metadata: map[string]string{"name": login}}
	auth.GroupAliases = groups
	auth.Private, err = json.Marshal(known{Name: name, Alias: p.alias, Stamp: p.stamp})
	return auth, err
}

// powers is the groups of a person, and the policies that follow from them and from
// the person's own row.
func powers(c *api.Call, d *directory, p *person) (groups, policies []string, err error) {
	groups, err = d.groups(p)
	if err != nil {
		return nil, nil, err
	}
	if len(groups) == 0 && d.cfg.GroupDN != "" {
		c.Warn("the directory has no groups for this account: policies come from the method's own users and groups alone")
	}
	var u user
	if _, err = load(stored(c), rowOf(prefixUser, p.login), &u); err != nil {
		return nil, nil, err
	}
	groups = append(groups, u.Groups...)
	slices.Sort(groups)
	groups = slices.Compact(groups)
	policies, err = policiesFor(stored(c), &u, groups)
	return groups, policies, err
}

// renew asks the directory again: whether the account is still there, is the same and
// has the same password, as far as the directory tells; and for its groups.
func renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	cfg, err := settings(stored(c))
	switch {
	case err != nil:
		return nil, err
	case cfg == nil || !cfg.searches():
		return nil, api.Errorf(api.Invalid, "without binddn or discoverdn the directory cannot be asked again, not renewing")
	}
	var was known
	if err := json.Unmarshal(s.Private, &was); err != nil || was.Name == "" {
		return nil, errGone()
	}
	d, err := cfg.open(c)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := d.serve(); err != nil {
		return nil, err
	}
	p, err := d.look(was.Name, c.Now)
	switch {
	case err != nil:
		return nil, err
	case p == nil || p.banned || p.alias != was.Alias || p.stamp != was.Stamp:
		return nil, errGone()
	}
	return d.admit(c, p, was.Name)
}

func errGone() error {
	return &api.Error{Kind: api.Invalid, Message: "the account is not what it was at the login, not renewing", Hint: "log in again"}
}
