package aws

import (
	"errors"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
)

// Login is a login with a signed question to STS.
type Login struct {
	Role    api.Name `json:"role"`                    // The role to log in by; the name of the IAM user or role when absent.
	Method  string   `json:"iam_http_request_method"` // Method of the question: POST.
	URL     string   `json:"iam_request_url"`         // Address of STS, in base64. Whom the server asks the configuration says.
	Body    string   `json:"iam_request_body"`        // The question, in base64: GetCallerIdentity.
	Headers any      `json:"iam_request_headers"`     // Headers of the question with its signature: an object, or its JSON in base64.
	PKCS7   string   `json:"pkcs7"`                   // Not supported: of EC2 instances.
	Doc     string   `json:"identity"`                // Not supported: of EC2 instances.
}

// LoginRole is the role that is named.
func (l *Login) LoginRole(*api.Call) (string, error) { return string(l.Role), nil }

var errBound = errors.New("there is no such role, or it does not let in who has signed")

// login makes a token for a user or role of AWS.
func (engine) login(c *api.Call, q *Login) (*api.Auth, error) {
	if q.PKCS7 != "" || q.Doc != "" {
		return nil, &api.Error{Kind: api.Invalid, Message: "pkcs7 and identity: logins of the type ec2 are not supported", Hint: "log in with the credentials of the instance profile: iam"}
	}
	conf, err := config(c)
	if err != nil {
		return nil, err
	}
	question, err := q.parse(conf)
	if err != nil {
		return nil, err
	}
	who, err := question.ask(c, question.endpoint(conf))
	if err != nil {
		return nil, api.Deny(err)
	}
	name := q.Role
	if name == "" {
		name = api.Name(strings.ToLower(who.Name))
	}
	r, err := authrole.Load[role](c, name)
	switch {
	case err != nil:
		return nil, err
	case r == nil || !r.lets(who):
		return nil, api.Deny(errBound)
	}
	return r.admit(c, name, who)
}

// admit is the answer to a login.
func (r *role) admit(c *api.Call, name api.Name, who *caller) (*api.Auth, error) {
	i, err := identityOf(c)
	if err != nil {
		return nil, err
	}
	auth := r.Token.Auth()
	auth.LoginRole = string(name)
	auth.Alias = &api.Alias{Name: map[string]string{byUniqueID: who.uniqueID(), byCanonical: who.Principal, byFull: who.ARN}[i.IAMAlias]}
	if i.IAMAlias == byRole {
		auth.Alias.Name = r.ID
	}
	auth.Metadata = map[string]string{"auth_type": "iam", "account_id": who.Account, "canonical_arn": who.Principal, "client_arn": who.ARN, "client_user_id": who.uniqueID(), "role_id": r.ID}
	auth.Alias.Metadata = authrole.Metadata(i.IAMMetadata, auth.Metadata)
	auth.DisplayName = c.DisplayName(who.Name)
	return authrole.Keep(auth, name, who)
}

// renew lets a token be renewed as long as its role lets in who has logged in.
func (engine) renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	r, who, err := authrole.Recall[role, caller](c, s)
	switch {
	case err != nil:
		return nil, err
	case r == nil || !r.lets(who):
		return nil, api.Deny(errBound)
	}
	return r.Token.Auth(), nil
}
