package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/policy"
)

// audited is what the two lines of an audit log hold of a request that matters here.
type audited struct {
	Time  string `json:"time"`
	Type  string `json:"type"`
	Error string `json:"error"`
	Auth  struct {
		ClientToken string            `json:"client_token"`
		Policies    []string          `json:"policies"`
		Results     json.RawMessage   `json:"policy_results"`
		DisplayName string            `json:"display_name"`
		EntityID    string            `json:"entity_id"`
		Metadata    map[string]string `json:"metadata"`
		TokenType   string            `json:"token_type"`
		Issued      string            `json:"token_issue_time"`
	} `json:"auth"`
	Request struct {
		ID            string `json:"id"`
		Operation     string `json:"operation"`
		Path          string `json:"path"`
		RemoteAddress string `json:"remote_address"`
		WrapTTL       int64  `json:"wrap_ttl"`
		Namespace     struct {
			Path string `json:"path"`
		} `json:"namespace"`
	} `json:"request"`

	answered bool // the line of the answer was found, and Error is what its caller was told
}

// findAudited finds a request and its answer in an audit file, whose lines may be long.
func findAudited(file, id string) (found *audited, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for r := bufio.NewReader(f); ; {
		line, rerr := r.ReadBytes('\n')
		switch a := parseAudited(line, id); {
		case a == nil:
		case a.Type == "request" && found == nil:
			found = a
		case a.Type == "response" && found != nil:
			found.Error, found.answered = a.Error, true
			return found, nil
		}
		switch {
		case errors.Is(rerr, io.EOF) && found != nil:
			return found, nil
		case errors.Is(rerr, io.EOF):
			return nil, &exit{exitLocal, fmt.Sprintf("No request %s is in %s", id, file), "ask for the file of the node that answered, and of that day"}
		case rerr != nil:
			return nil, rerr
		}
	}
}

// parseAudited reads a line that is about a request; nil: it is about another.
func parseAudited(line []byte, id string) *audited {
	at := bytes.IndexByte(line, '{') // a device may put a prefix before
	if at < 0 || !bytes.Contains(line, []byte(id)) {
		return nil
	}
	a := &audited{}
	if json.Unmarshal(line[at:], a) != nil || a.Request.ID != id {
		return nil
	}
	return a
}

// fromLog explains a request of an audit file.
func (x *explainFlags) fromLog(c *call) (out *explained, err error) {
	seen, err := findAudited(x.auditFile, x.requestID)
	switch {
	case err != nil:
		return nil, err
	case seen.stranger():
		return seen.unjudged(c.name), nil
	case x.dir != "" || len(seen.Auth.Policies) == 0: // of no policies, the server would take the asker's own
		out, err = x.offline(seen)
	default:
		out, err = ask(c, map[string]any{"operation": seen.Request.Operation, "path": seen.path(), "policies": seen.Auth.Policies,
			"source": seen.Request.RemoteAddress, "at": seen.Time, "wrap_ttl": seen.Request.WrapTTL})
	}
	if err == nil && out.Allowed && seen.Error != "" {
		out.Notes = append(out.Notes, "its caller was told: "+seen.Error)
	}
	return out, err
}

// path is the request's path from the root namespace.
func (a *audited) path() string { return a.Request.Namespace.Path + a.Request.Path }

// stranger reports whether nobody was known to ask, so that no policy was asked about it.
func (a *audited) stranger() bool { return len(a.Auth.Results) == 0 && len(a.Auth.Policies) == 0 }

// unjudged explains a request that no policy was asked about, such as a login, by what its caller was told.
func (a *audited) unjudged(program string) *explained {
	out := &explained{RequestID: a.Request.ID, Time: a.Time, Namespace: a.Request.Namespace.Path}
	out.Explanation = policy.Explanation{Operation: a.Request.Operation, Path: a.path(), Allowed: a.Error == "",
		Reason: "no token was shown, and the endpoint needs none"}
	_, login := loginAt(a.Request.Path)
	login = login || strings.HasPrefix(a.Request.Path, "sys/mfa/") // second factors, and rights to register them
	denied := a.Error == "permission denied" && !login
	switch {
	case denied && a.Auth.ClientToken != "":
		out.Cause = "the token is unknown, had ended, or may not be used from this address, in this namespace or as a caller"
	case denied:
		out.Cause = "no token was shown"
	case a.Error == "" && a.Auth.ClientToken != "":
		out.Reason = "the endpoint needs no token, and the one that was shown counts for nothing"
	default:
		out.Cause = a.Error
	}
	out.Reason = cmp.Or(out.Cause, out.Reason)
	if a.Error != "" && !denied {
		out.Notes = append(out.Notes, "the log holds what its caller was told; the node that answered may remember the cause: "+program+" policy explain -request-id="+a.Request.ID)
	}
	if a.Error == "" && !a.answered {
		out.Notes = append(out.Notes, "what was answered is not in the file")
	}
	return out
}

// offline judges a request by the policies in a directory.
func (x *explainFlags) offline(seen *audited) (*explained, error) {
	op, ok := policy.Operation(seen.Request.Operation)
	if !ok {
		return nil, usagef("the operation %q is not decided by policies", seen.Request.Operation)
	}
	out := &explained{RequestID: x.requestID, Time: seen.Time, Namespace: seen.Request.Namespace.Path, Policies: seen.Auth.Policies}
	req := policy.Request{Path: seen.path(), Op: op, WrapTTL: time.Duration(seen.Request.WrapTTL) * time.Second, Facts: seen.facts()}
	now, err := time.Parse(time.RFC3339Nano, seen.Time)
	if err != nil {
		return nil, fmt.Errorf("the time of the audit line: %w", err)
	}
	req.Now = now
	acl, missing, err := x.compile(seen.Auth.Policies, now)
	if err != nil {
		return nil, err
	}
	for _, name := range missing {
		out.Notes = append(out.Notes, fmt.Sprintf("there is no %s: what the policy grants is left out", filepath.Join(x.dir, name+".hcl")))
	}
	out.Notes = append(out.Notes, "parameters are not in the audit log: rules about them are judged as if there were none")
	out.Explanation = *acl.Explain(req, false)
	return out, nil
}

func (a *audited) facts() *policy.Facts {
	f := &policy.Facts{TokenType: a.Auth.TokenType, DisplayName: a.Auth.DisplayName, EntityID: a.Auth.EntityID, Metadata: a.Auth.Metadata,
		Policies: a.Auth.Policies, Namespace: a.Request.Namespace.Path}
	if f.TokenType == "default" {
		f.TokenType = "service"
	}
	if addr, err := netip.ParseAddr(a.Request.RemoteAddress); err == nil {
		f.Source = addr
	}
	if at, err := time.Parse(time.RFC3339, a.Auth.Issued); err == nil {
		f.AuthTime = at
	}
	return f
}
