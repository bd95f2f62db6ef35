package ldap

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/strongroom/strongroom/internal/api"
)

// maxGroups bounds how many groups a person may be in.
const maxGroups = 4096

func errGroups() error {
	return &api.Error{Kind: api.Invalid, Message: "ldap operation failed: the account is in more groups than the directory answers, or than are taken",
		Hint: "set max_page_size, or a groupfilter that finds fewer"}
}

// groups are the names of the groups that the directory puts a person in, canonical and
// each once.
func (d *directory) groups(p *person) ([]string, error) {
	from, err := d.forGroups()
	if err != nil {
		return nil, err
	}
	if from != d {
		defer from.close()
	}
	var found []*ldap.Entry
	switch {
	case d.cfg.TokenGroups:
		found, err = from.byToken(p)
	case d.cfg.GroupDN != "" && d.cfg.groupTmpl != nil:
		found, err = from.byFilter(p)
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range found {
		for _, name := range d.cfg.groupNames(e) {
			if name = d.cfg.canonical(name); name != "" {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxGroups {
		return nil, errGroups()
	}
	return out, nil
}

// forGroups is the connection over which groups are looked for.
func (d *directory) forGroups() (*directory, error) {
	if !d.cfg.AnonymousGroups {
		return d, nil
	}
	return d.cfg.open(d.ctx)
}

// byFilter finds groups, or whatever names them, by the setting groupfilter.
func (d *directory) byFilter(p *person) ([]*ldap.Entry, error) {
	filter := d.cfg.groupTmpl.expand(d.cfg.UserAttr, p.login, p.dn)
	attrs := []string{d.cfg.GroupAttr}
	if d.cfg.PageSize <= 0 {
		found, over, err := d.find("groupdn", d.cfg.GroupDN, ldap.ScopeWholeSubtree, filter, attrs, maxGroups)
		if over {
			err = errGroups()
		}
		return found, err
	}
	return d.pages(filter, attrs)
}

// pages is byFilter in pages (RFC 2696).
func (d *directory) pages(filter string, attrs []string) ([]*ldap.Entry, error) {
	page := ldap.NewControlPaging(uint32(d.cfg.PageSize))
	q := ldap.NewSearchRequest(d.cfg.GroupDN, ldap.ScopeWholeSubtree, dereference()[d.cfg.Dereference], 0, 0, false, filter, attrs, []ldap.Control{page})
	var all []*ldap.Entry
	for {
		r, err := d.conn.Search(q)
		switch {
		case answered(err):
			return nil, errRefused("to search in groupdn", err)
		case err != nil:
			return nil, errAway(err)
		}
		if all = append(all, r.Entries...); len(all) > maxGroups {
			return nil, errGroups()
		}
		next, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 || len(r.Entries) == 0 {
			return all, nil
		}
		page.SetCookie(next.Cookie)
	}
}

// byToken finds the groups whose identifiers Active Directory has reckoned for a
// person, through groups of groups too ([MS-ADTS], section 3.1.1.4.5.19).
func (d *directory) byToken(p *person) ([]*ldap.Entry, error) {
	const attr = "tokenGroups"
	self, _, err := d.find("", p.dn, ldap.ScopeBaseObject, anyone, []string{attr}, 1)
	if err != nil || len(self) != 1 {
		return nil, err
	}
	ids := self[0].GetEqualFoldRawAttributeValues(attr)
	if len(ids) > maxGroups {
		return nil, errGroups()
	}
	var all []*ldap.Entry
	for _, id := range ids {
		sid := securityID(id)
		if sid == "" {
			continue
		}
		found, _, err := d.find("", "<SID="+sid+">", ldap.ScopeBaseObject, anyone, []string{d.cfg.GroupAttr}, 1)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// securityID is the text of a security identifier ([MS-DTYP], section 2.4.2); empty for
// what is none.
func securityID(b []byte) string {
	if len(b) < 8 || len(b) != 8+4*int(b[1]) {
		return ""
	}
	out := "S-" + strconv.Itoa(int(b[0])) + "-" + strconv.FormatUint(binary.BigEndian.Uint64(append([]byte{0, 0}, b[2:8]...)), 10)
	for at := 8; at < len(b); at += 4 {
		out += "-" + strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[at:])), 10)
	}
	return out
}

// groupNames are the names of groups that an entry stands for: the values of groupattr
// or, without one, its own name.
func (cfg *config) groupNames(e *ldap.Entry) []string {
	values := e.GetEqualFoldAttributeValues(cfg.GroupAttr)
	if len(values) > 0 && strings.EqualFold(cfg.GroupAttr, "cn") {
		return values // names, though one may look like a distinguished name
	}
	if len(values) == 0 {
		values = []string{e.DN}
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = cfg.groupCN(v)
	}
	return out
}

// groupCN is a group's name: the common name, where it is given by a distinguished
// name that begins with one.
func (cfg *config) groupCN(value string) string {
	dn, err := ldap.ParseDN(value)
	if err != nil || len(dn.RDNs) == 0 {
		return value
	}
	for _, a := range dn.RDNs[0].Attributes {
		if a.Type == "CN" || !cfg.OldGroupCN && strings.EqualFold(a.Type, "CN") {
			return a.Value
		}
	}
	return value
}
