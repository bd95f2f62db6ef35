package aws

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
)

// caller is who STS says has signed a question.
type caller struct {
	ARN     string `json:"arn"`
	UserID  string `json:"user_id"`
	Account string `json:"account"`
	// Principal is the ARN of the IAM user, or of the role that was assumed, without the
	// path of a role.
	Principal string `json:"principal"`
	Name      string `json:"name"` // of that user or role
}

var errRefused = errors.New("STS does not take the signature")

// ask asks STS.
func (q *question) ask(ctx context.Context, endpoint string) (*caller, error) {
	host, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("aws: %w", err)
	}
	header := q.header.Clone()
	if h := header.Get("Host"); h != "" && h != host.Host {
		return nil, errHost
	}
	header.Del("Host") // both are the request's own
	header.Del("Content-Length")
	a, err := outbound.Peer{}.Do(ctx, http.MethodPost, endpoint+"/", header, []byte(q.body))
	switch {
	case err != nil:
		return nil, outbound.Away(err, "STS could not be asked", "the server must reach sts_endpoint of config/client")
	case a.Status >= 500 || a.Status == http.StatusTooManyRequests:
		return nil, &api.Error{Kind: api.Unavailable, Message: "STS did not answer the question", Err: fmt.Errorf("status %d", a.Status)}
	case a.Status != http.StatusOK:
		return nil, errRefused
	}
	if kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type")); err != nil || kind != "text/xml" && kind != "application/xml" {
		return nil, errAnswer
	}
	return parseCaller(a.Body)
}

// parseCaller reads an answer: one document, of that name, that says each thing once.
func parseCaller(body []byte) (*caller, error) {
	var a struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Results []struct {
			ARN     []string `xml:"https://sts.amazonaws.com/doc/2011-06-15/ Arn"`
			UserID  []string `xml:"https://sts.amazonaws.com/doc/2011-06-15/ UserId"`
			Account []string `xml:"https://sts.amazonaws.com/doc/2011-06-15/ Account"`
		} `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResult"`
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&a); err != nil {
		return nil, errAnswer
	}
	if !ended(d) || len(a.Results) != 1 {
		return nil, errAnswer
	}
	r := a.Results[0]
	if len(r.ARN) != 1 || len(r.UserID) != 1 || len(r.Account) != 1 {
		return nil, errAnswer
	}
	c := &caller{ARN: r.ARN[0], UserID: r.UserID[0], Account: r.Account[0]}
	return c, c.resolve()
}

// ended reports whether nothing but space and comments follows.
func ended(d *xml.Decoder) bool {
	for {
		t, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		switch t := t.(type) {
		case xml.Comment:
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return false
			}
		default:
			return false
		}
	}
}

// maxARN bounds an ARN, in bytes: a path has at most 512, a name 64. It is no repeat in the
// forms below, since a large one makes each start of the program slower.
const maxARN = 640

// The ARNs of those who can log in. As all forms of this package, they are compiled when first asked: together they
// are 700 KB, and most servers never need them.
var (
	userForm    = api.Regexp(`^arn:(aws[a-z-]{0,12}):iam::([0-9]{12}):user/((?:[\x21-\x7e]+/)?)([A-Za-z0-9+=,.@_-]{1,64})$`)
	assumedForm = api.Regexp(`^arn:(aws[a-z-]{0,12}):sts::([0-9]{12}):assumed-role/([A-Za-z0-9+=,.@_-]{1,64})/[A-Za-z0-9+=,.@_-]{2,64}$`)
	userIDForm  = api.Regexp(`^[A-Z0-9]{4,128}(:[A-Za-z0-9+=,.@_-]{2,64})?$`)
)

var errCaller = errors.New("who has signed is neither an IAM user nor has assumed a role")

// resolve says which user or role it is.
func (c *caller) resolve() error {
	if len(c.ARN) > maxARN || !userIDForm().MatchString(c.UserID) {
		return errCaller
	}
	var partition, account string
	if m := userForm().FindStringSubmatch(c.ARN); m != nil {
		partition, account, c.Principal, c.Name = m[1], m[2], c.ARN, m[4]
	} else if m := assumedForm().FindStringSubmatch(c.ARN); m != nil {
		partition, account, c.Name = m[1], m[2], m[3]
		c.Principal = "arn:" + partition + ":iam::" + account + ":role/" + c.Name
	}
	if account == "" || account != c.Account {
		return errCaller
	}
	return nil
}

// uniqueID is the identifier of the user or role itself, which is never used again.
func (c *caller) uniqueID() string {
	id, _, _ := strings.Cut(c.UserID, ":")
	return id
}
