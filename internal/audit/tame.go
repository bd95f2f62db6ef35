package audit

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/strongroom/strongroom/internal/api"
)

// Bounds of what the devices of a namespace may be.
const (
	maxBelow       = 4        // devices of one namespace
	deepest        = 4        // how far below the root a namespace may lie that has devices of its own
	maxPath        = 128      // bytes of a device's path, and of its file's
	maxDescription = 1 << 10  // bytes
	maxOptions     = 32 << 10 // bytes of all options of one device
	maxNames       = 64       // files and directories that a namespace's devices have made, beside full files
)

// errForeign is a file that a namespace's device must not write to.
var errForeign = errors.New("it is a file of somebody else")

// below reports whether the devices are of a namespace below the root.
func (e *Env) below() bool { return e.Namespace.ID != "" }

// notBelow refuses what the devices of a namespace may not do: their entries hold what its
// parents' tokens ask for, and the server's files and peers are the operator's.
func notBelow(option, why string) *api.Error {
	return invalid(option, "is not available in a namespace", why)
}

// tame refuses what the devices of a namespace may not be.
func (o *options) tame() error {
	switch {
	case !o.env.below():
		return nil
	case o.kind == "stdout", o.given["file_path"] == "stdout":
		return &api.Error{Kind: api.Invalid, Message: "type: stdout is not available in a namespace", Hint: "the server's standard output is its operator's"}
	case o.kind == "file" && o.env.Home == "":
		return &api.Error{Kind: api.Invalid, Message: "type: file is not available in a namespace: the server has no directory for the audit files of namespaces",
			Hint: `the operator names one: -audit-namespace-dir=DIR, or audit_namespace_directory = "DIR" in the configuration`}
	case o.kind == "socket", o.kind == "syslog":
		if err := o.peered(); err != nil {
			return err
		}
	}
	return o.modest()
}

// peered refuses peers that the operator has not named.
func (o *options) peered() error {
	address := o.given["address"]
	switch {
	case slices.Contains(o.env.Peers, "*"), slices.Contains(o.env.Peers, strings.ToLower(address)):
	default:
		return &api.Error{Kind: api.Invalid, Message: "options.address: is not an address that devices of namespaces may send entries to",
			Hint: `the operator names such: audit_namespace_peers = ["HOST:PORT"] in the configuration`}
	}
	if address == "" || strings.HasPrefix(address, "/") || o.given["socket_type"] == "unix" {
		return notBelow("socket_type", "sockets of the server's machine are its operator's: give address=HOST:PORT")
	}
	return nil
}

// modest refuses options that would show, keep or hold up more than a namespace's people
// may.
func (o *options) modest() error {
	for _, name := range []string{"spool_path", "spool_size"} {
		if o.given[name] != "" {
			return notBelow(name, "it reserves space on the server's disk")
		}
	}
	if o.given["prefix"] != "" {
		return notBelow("prefix", "it would let a caller choose what an entry begins with")
	}
	if isTrue(o.given["log_raw"]) {
		return notBelow("log_raw", "entries hold tokens of the namespaces above")
	}
	if hashed, err := o.boolean("hmac_accessor", true); err != nil || !hashed {
		return errors.Join(err, notBelow("hmac_accessor", "entries hold accessors of the namespaces above"))
	}
	if o.given["deadline"] != "" {
		_, err := o.span("deadline", maxPatience)
		return err
	}
	return nil
}

// homely refuses what is no name of a file below a namespace's directory, in one spelling.
func homely(option, name string) error {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		if !plainName(s) || i == len(segments)-1 && looksRotated(s) {
			return invalid(option, "is not the name of an audit file of a namespace",
				"a name such as audit.log or logs/audit.log, of letters, digits, '-', '_' and '.', below the namespace's own directory")
		}
	}
	if len(name) > maxPath {
		return invalid(option, "is too long", "")
	}
	return nil
}

func plainName(s string) bool {
	return s != "" && s[0] != '.' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// looksRotated reports whether a file would be taken for a full one of another device.
func looksRotated(name string) bool {
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		if _, ok := parseFull(name[i+1:]); ok {
			return true
		}
	}
	return false
}

// bounded refuses declarations of a namespace that are too large, or too deep.
func (d *Devices) bounded(decl *Declaration) error {
	if d.home == "" {
		return nil
	}
	if strings.Count(d.env.Namespace.Path, "/") > deepest {
		return &api.Error{Kind: api.Invalid, Message: "namespaces this deep have no audit devices of their own", Hint: "devices of the namespaces above have their entries"}
	}
	size := 0
	for k, v := range decl.Options {
		size += len(k) + len(v)
	}
	switch {
	case len(decl.Path) > maxPath:
		return api.Errorf(api.Invalid, "path: longer than %d bytes", maxPath)
	case len(decl.Description) > maxDescription:
		return api.Errorf(api.Invalid, "description: longer than %d bytes", maxDescription)
	case size > maxOptions:
		return api.Errorf(api.Invalid, "options: longer than %d bytes", maxOptions)
	}
	return nil
}

// crowded reports whether a file that is not there yet would be one more than a namespace may leave behind: who makes
// devices and removes them, over and over, would use the disk's names up.
func (o *fileOutput) crowded() bool {
	root, err := o.root()
	if err != nil {
		return false // as whoever opens the file is told
	}
	defer root.Close() //nolint:errcheck // it was read alone
	if _, err := root.Lstat(o.name); err == nil {
		return false
	}
	names := 0
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == "." || looksRotated(e.Name()) {
			return err
		}
		if names++; names >= maxNames {
			return fs.SkipAll
		}
		return nil
	})
	return err != nil || names >= maxNames
}

// tooMany refuses one device more than a namespace may have.
func tooMany() error {
	return api.Errorf(api.Invalid, "a namespace has at most %d audit devices", maxBelow)
}

// root opens what the file is looked up below. A directory of a namespace is made unless it
// is there.
func (o *fileOutput) root() (root *os.Root, err error) {
	base, err := os.OpenRoot(o.dir)
	if err != nil || o.home == "" {
		return base, err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	if err := base.Mkdir(o.home, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	named, err := base.Lstat(o.home)
	if err != nil {
		return nil, err
	}
	if root, err = base.OpenRoot(o.home); err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err == nil && !os.SameFile(info, named) {
		err = errLink
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// ours refuses a file that has another name elsewhere, is another user's, or holds what
// is no entry.
func ours(root *os.Root, name string, info fs.FileInfo) (err error) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || s.Nlink != 1 || int(s.Uid) != os.Geteuid() {
		return errForeign
	}
	if info.Size() == 0 {
		return nil
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	const begins = `{"time":"`
	head := make([]byte, min(info.Size(), int64(len(begins))))
	if _, err := f.ReadAt(head, 0); err != nil {
		return err
	}
	if !bytes.HasPrefix([]byte(begins), head) {
		return errForeign
	}
	return nil
}
