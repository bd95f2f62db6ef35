package ldap

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/strongroom/strongroom/internal/api"
)

// person is an account of the directory, by what stands there.
type person struct {
	dn     string
	login  string // what the account is called where users and members are named, as the directory spells it
	alias  string // canonical; empty: the directory gives no single name
	attr   string // the attribute that gave it, and its value as it stands there
	value  string
	sole   bool   // that no other account has that name has been seen already
	stamp  string // changes with the account behind the name, and with its password where the directory tells
	banned bool   // the directory says that the account may not log in
}

// standing are attributes that tell of the account itself, of any kind of directory:
// what it is, when its password was changed and whether it is disabled.
func standing() []string {
	return []string{"entryUUID", "objectGUID", "nsUniqueId", "pwdLastSet", "pwdChangedTime", "userAccountControl", "accountExpires", "nsAccountLock", "pwdAccountLockedTime"}
}

// stamped is how many of them, from the first on, stay as they are while account and
// password do.
const stamped = 5

// aliasAttr is the attribute whose value is the alias.
func (cfg *config) aliasAttr(compared []string) string {
	if cfg.NameAsAlias && len(compared) > 0 {
		return compared[0]
	}
	return cfg.UserAttr
}

// asked is a name as userfilter compares it.
func (cfg *config) asked(name string) string {
	if cfg.UPNDomain == "" {
		return name
	}
	return name + "@" + cfg.UPNDomain
}

// meet makes a person of an entry that was found by comparing some attributes with a name.
func (cfg *config) meet(e *ldap.Entry, name string, compared []string, now time.Time) *person {
	p := &person{dn: e.DN, attr: cfg.aliasAttr(compared), stamp: stamp(e), banned: banned(e, now)}
	want := fold(name)
	for _, a := range compared {
		for _, v := range e.GetEqualFoldAttributeValues(a) {
			if fold(v) != want {
				continue
			}
			if p.sole = p.sole || strings.EqualFold(a, p.attr); p.login == "" {
				p.login = cfg.bare(v)
			}
		}
	}
	if values := e.GetEqualFoldAttributeValues(p.attr); len(values) == 1 {
		p.value = values[0]
		p.alias = cfg.canonical(p.value)
	}
	if tidy(p.value) != p.value {
		p.alias, p.value = "", "" // the directory may have others that differ by space alone
	}
	if cfg.NameAsAlias {
		p.alias = cfg.canonical(cfg.bare(p.value))
	}
	if cfg.canonical(p.login) == "" {
		p.login = p.alias
	}
	return p
}

// bare is a userPrincipalName without its domain.
func (cfg *config) bare(value string) string {
	if cfg.UPNDomain == "" {
		return value
	}
	if i := strings.LastIndexByte(value, '@'); i > 0 && strings.EqualFold(value[i+1:], cfg.UPNDomain) {
		return value[:i]
	}
	return value
}

func stamp(e *ldap.Entry) string {
	h := sha256.New()
	for _, a := range standing()[:stamped] {
		for _, v := range e.GetEqualFoldRawAttributeValues(a) {
			h.Write([]byte(a + "=" + hex.EncodeToString(v) + "\n"))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fileTime is the number of 100 ns since 1601 at the start of 1970.
const fileTime = 116_444_736_000_000_000

// banned reports whether a directory says of an account that nobody logs in by it:
// Active Directory, 389 Directory Server or OpenLDAP's password policies.
func banned(e *ldap.Entry, now time.Time) bool {
	number := func(attr string) int64 {
		n, err := strconv.ParseInt(e.GetEqualFoldAttributeValue(attr), 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	const disabled, never = 2, 1<<63 - 1
	expires := number("accountExpires")
	return number("userAccountControl")&disabled != 0 ||
		expires != 0 && expires != never && expires < fileTime+now.UnixNano()/100 ||
		strings.EqualFold(e.GetEqualFoldAttributeValue("nsAccountLock"), "true") ||
		e.GetEqualFoldAttributeValue("pwdAccountLockedTime") == "000001010000Z"
}

// look finds the account that a name is of, as the account that looks for others, or
// without any. None and several are both nobody.
func (d *directory) look(name string, now time.Time) (*person, error) {
	compared, err := d.cfg.userTmpl.compared(d.cfg.UserAttr)
	if err != nil {
		return nil, err
	}
	name = d.cfg.asked(name)
	return d.only(ldap.ScopeWholeSubtree, d.cfg.UserDN, d.cfg.userTmpl.expand(d.cfg.UserAttr, name, ""), name, compared, now)
}

// only finds the one entry that a filter is for.
func (d *directory) only(scope int, base, filter, name string, compared []string, now time.Time) (*person, error) {
	field := "userdn"
	if scope == ldap.ScopeBaseObject {
		field = ""
	}
	attrs := slices.Concat(standing(), compared, []string{d.cfg.UserAttr})
	found, over, err := d.find(field, base, scope, filter, attrs, 2)
	if err != nil || over || len(found) != 1 {
		return nil, err
	}
	return d.cfg.meet(found[0], name, compared, now), nil
}

// anyone is a filter that every entry meets.
const anyone = "(objectClass=*)"

// nameForm is what a name must not hold where it becomes a userPrincipalName: Active
// Directory would take it for a name of another form.
const nameForm = "\"/\\[]:;|=,+*?<>@"

// guess is the name to bind as where nobody looks for accounts.
func (cfg *config) guess(name string) (string, error) {
	switch {
	case cfg.UPNDomain != "" && strings.ContainsAny(name, nameForm):
		return "", api.Errorf(api.Invalid, "username: holds a character that no userPrincipalName has")
	case cfg.UPNDomain != "":
		return cfg.asked(name), nil
	case cfg.UserDN == "":
		return "", api.Errorf(api.Invalid, "ldap operation failed: the method has neither userdn nor upndomain")
	}
	return cfg.UserAttr + "=" + ldap.EscapeDN(name) + "," + cfg.UserDN, nil
}

// self finds who has bound, as themselves, by the name that they bound as.
func (d *directory) self(bound, name string, now time.Time) (*person, error) {
	if d.cfg.UPNDomain == "" {
		p, err := d.only(ldap.ScopeBaseObject, bound, anyone, name, []string{d.cfg.UserAttr}, now)
		if p != nil {
			p.sole = true // of the entries below userdn, this is the one of that name
		}
		return p, err
	}
	const attr = "userPrincipalName"
	return d.only(ldap.ScopeWholeSubtree, d.cfg.UserDN, "("+attr+"="+ldap.EscapeFilter(bound)+")", bound, []string{attr}, now)
}

// alone reports whether an account is the only one with its alias. An attribute that
// is not what the account was found by may stand in several.
func (d *directory) alone(p *person) (bool, error) {
	if p.sole {
		return true, nil
	}
	filter := "(" + p.attr + "=" + ldap.EscapeFilter(p.value) + ")"
	found, over, err := d.find("userdn", d.cfg.UserDN, ldap.ScopeWholeSubtree, filter, []string{"1.1"}, 2)
	return err == nil && !over && len(found) == 1 && found[0].DN == p.dn, err
}
