package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/issuer"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
)

// Kinds of resources that machines are.
const (
	kindMachine  = "microsoft.compute/virtualmachines"
	kindScaleSet = "microsoft.compute/virtualmachinescalesets"
	kindIdentity = "microsoft.managedidentity/userassignedidentities"
)

// nameForm is what something in Azure can be called, in small letters. As idForm, it is compiled when first asked.
var nameForm = api.Regexp(`^[a-z0-9_()-][a-z0-9._()-]{0,127}$`)

// resource is something in Azure, in small letters: names differ by more than that.
type resource struct {
	Subscription string `json:"subscription"`
	Group        string `json:"group"`
	Kind         string `json:"kind"`
	Name         string `json:"name"`
}

var errResource = errors.New("what the token says of its machine cannot be read")

// parseResource reads the identifier of a resource. That of a scale set's machine is the scale set's.
func parseResource(text string) (*resource, error) {
	p := strings.Split(strings.ToLower(text), "/")
	if len(text) > maxItem || len(p) < 9 || p[0] != "" || p[1] != "subscriptions" || p[3] != "resourcegroups" || p[5] != "providers" || !idForm().MatchString(p[2]) {
		return nil, errResource
	}
	for _, part := range p[4:] {
		if !nameForm().MatchString(part) {
			return nil, errResource
		}
	}
	return &resource{Subscription: p[2], Group: p[4], Kind: p[6] + "/" + p[7], Name: p[8]}, nil
}

// id is the resource's identifier.
func (m *resource) id() string {
	return "/subscriptions/" + m.Subscription + "/resourceGroups/" + m.Group + "/providers/" + m.Kind + "/" + m.Name
}

// machineOf is where a token was made: what it says of the resource, or of the resource whose own identity it
// is for. An identity that several can have does not say which of them has it.
func machineOf(said jws.Claims) (*resource, error) {
	for _, name := range []string{"xms_az_rid", "xms_mirid"} {
		v, there := said[name]
		if !there {
			continue
		}
		text, _ := v.(string)
		m, err := parseResource(text)
		if err != nil {
			return nil, err
		}
		if m.Kind != kindIdentity {
			return m, nil
		}
	}
	return nil, nil
}

var errLocation = errors.New("the machine does not stand where the role wants it, or the Resource Manager does not know it")

// locate asks the Resource Manager where a machine stands.
func (conf *config) locate(ctx context.Context, m *resource) (string, error) {
	if m == nil || m.Kind != kindMachine && m.Kind != kindScaleSet {
		return "", errLocation
	}
	if conf.ClientID == "" {
		return "", &api.Error{Kind: api.Unavailable, Message: "there is no client to ask the Resource Manager with", Hint: "set client_id and client_secret in config"}
	}
	var token struct {
		Access string `json:"access_token"`
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {conf.ClientID}, "client_secret": {conf.Secret}, "scope": {conf.place("management") + "/.default"}}
	if err := ask(ctx, issuer.Question{Method: http.MethodPost, Target: conf.place("login") + "/" + conf.Tenant + "/oauth2/v2.0/token",
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte(form.Encode())}, &token); err != nil {
		return "", err
	}
	var got struct {
		ID       string `json:"id"`
		Location string `json:"location"`
	}
	if strings.ContainsFunc(token.Access, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errLocation
	}
	if err := ask(ctx, issuer.Question{Method: http.MethodGet, Target: conf.place("management") + m.id() + "?api-version=2023-07-01",
		Header: http.Header{"Authorization": {"Bearer " + token.Access}}}, &got); err != nil {
		return "", err
	}
	if known, err := parseResource(got.ID); err != nil || *known != *m {
		return "", errLocation
	}
	return located(got.Location), nil
}

func ask(ctx context.Context, q issuer.Question, into any) error {
	a, err := issuer.Ask(ctx, "", q)
	switch {
	case err != nil:
		return outbound.Away(err, "Azure could not be asked where the machine stands", "the server must reach what environment or custom_endpoint of the configuration names")
	case a.Status == http.StatusNotFound:
		return errLocation
	case a.Status != http.StatusOK:
		return &api.Error{Kind: api.Unavailable, Message: "Azure did not answer where the machine stands", Hint: "client_id must be allowed to read the machine", Err: fmt.Errorf("status %d", a.Status)}
	}
	if err := json.Unmarshal(a.Body, into); err != nil {
		return errLocation
	}
	return nil
}
