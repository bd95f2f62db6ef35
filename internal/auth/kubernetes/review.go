package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
	"github.com/strongroom/strongroom/internal/store"
)

// account is a service account, as the cluster names it.
type account struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// tokenReview asks whose a token is, and is the answer (authentication.k8s.io/v1).
type tokenReview struct {
	Version string       `json:"apiVersion"`
	Kind    string       `json:"kind"`
	Spec    reviewSpec   `json:"spec"`
	Status  reviewStatus `json:"status,omitzero"`
}

type reviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences,omitempty"`
}

type reviewStatus struct {
	Authenticated bool     `json:"authenticated"`
	Error         string   `json:"error"`
	Audiences     []string `json:"audiences"`
	User          struct {
		Username string   `json:"username"`
		UID      string   `json:"uid"`
		Groups   []string `json:"groups"`
	} `json:"user"`
}

const (
	reviewVersion = "authentication.k8s.io/v1"
	reviewKind    = "TokenReview"
	reviewPath    = "/apis/authentication.k8s.io/v1/tokenreviews"
	userPrefix    = "system:serviceaccount:"
	accountsGroup = "system:serviceaccounts"
)

// maxToken is the longest token, in bytes.
const maxToken = 16 << 10

var (
	errNotKnown = errors.New("the cluster does not know the token")
	errAudience = errors.New("the token is not for the role's audience")
	errAnswer   = errors.New("the cluster's answer is not one to the question")
	errAccount  = errors.New("the token is not of a service account")
	errForm     = errors.New("it is not a signed token in compact form")
)

// compact reports whether a text has the form of a signed token (RFC 7515): nothing else
// is sent to the cluster.
func compact(token string) bool {
	parts := strings.Split(token, ".")
	return len(token) <= maxToken && len(parts) == 3 && !slices.Contains(parts, "") && !strings.ContainsFunc(token, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// signed reports whether one of the keys has signed a token, where there are keys.
func (k *cluster) signed(token string) error {
	if len(k.Keys) == 0 {
		return nil
	}
	keys := make([]jws.Key, len(k.Keys))
	for i, text := range k.Keys {
		var err error
		if keys[i], err = jws.ParsePEM(text); err != nil {
			return fmt.Errorf("kubernetes: a key of the configuration %w", errors.Join(err, store.ErrCorrupt))
		}
	}
	h, err := jws.HeaderOf(token)
	if err != nil {
		return err
	}
	_, err = jws.Verify(token, h, keys, jws.Algorithms())
	return err
}

// bearer is the token to ask the cluster with.
func (k *cluster) bearer(client string) string {
	if k.Reviewer != "" {
		return k.Reviewer
	}
	return client
}

// review asks the cluster whose a token is.
func (k *cluster) review(ctx context.Context, token, audience string) (*account, error) {
	if !compact(token) {
		return nil, errForm
	}
	if err := k.signed(token); err != nil {
		return nil, err
	}
	q := tokenReview{Version: reviewVersion, Kind: reviewKind, Spec: reviewSpec{Token: token}}
	if audience != "" {
		q.Spec.Audiences = []string{audience}
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	var a tokenReview
	if err := k.ask(ctx, http.MethodPost, reviewPath, k.bearer(token), body, &a); err != nil {
		return nil, err
	}
	return a.account(audience)
}

// account is whose the token is that was asked about.
func (a *tokenReview) account(audience string) (*account, error) {
	s := &a.Status
	switch {
	case a.Kind != reviewKind || a.Version != reviewVersion:
		return nil, errAnswer
	case !s.Authenticated || s.Error != "":
		return nil, errNotKnown
	case audience != "" && !slices.Contains(s.Audiences, audience):
		return nil, errAudience // a cluster that knows no audiences does not say so
	}
	rest, ok := strings.CutPrefix(s.User.Username, userPrefix)
	namespace, name, both := strings.Cut(rest, ":")
	if !ok || !both || !label(namespace) || !label(name) || s.User.UID == "" || len(s.User.UID) > maxItem || !slices.Contains(s.User.Groups, accountsGroup) {
		return nil, errAccount
	}
	return &account{namespace, name, s.User.UID}, nil
}

// label reports whether a text can be the name of something in a cluster.
func label(s string) bool {
	return s != "" && len(s) <= 253 && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

// ask sends a question to the cluster's API and reads its answer.
func (k *cluster) ask(ctx context.Context, method, path, bearer string, body []byte, into any) error {
	header := http.Header{"Authorization": {"Bearer " + bearer}, "Accept": {"application/json"}}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	a, err := outbound.Peer{CAPEM: k.CA}.Do(ctx, method, k.Host+path, header, body)
	switch {
	case err != nil:
		return outbound.Away(err, "the cluster's API could not be asked", "the server must reach kubernetes_host, with a certificate of kubernetes_ca_cert")
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.Status == http.StatusNotFound:
		return fmt.Errorf("the cluster's API answered with status %d", a.Status)
	case a.Status != http.StatusOK && a.Status != http.StatusCreated:
		return &api.Error{Kind: api.Unavailable, Message: "the cluster's API did not answer the question", Err: fmt.Errorf("status %d", a.Status)}
	}
	if err := json.Unmarshal(a.Body, into); err != nil {
		return errAnswer
	}
	return nil
}

// object is what is asked of a namespace or a service account.
type object struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		UID         string            `json:"uid"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// labels are those of a namespace.
func (k *cluster) labels(ctx context.Context, bearer, namespace string) (map[string]string, error) {
	var o object
	if err := k.ask(ctx, http.MethodGet, "/api/v1/namespaces/"+url.PathEscape(namespace), bearer, nil, &o); err != nil {
		return nil, err
	}
	if o.Metadata.Name != namespace {
		return nil, errAnswer
	}
	return o.Metadata.Labels, nil
}

// annotated are a service account's annotations that are for an alias.
func (k *cluster) annotated(ctx context.Context, bearer string, who *account) (map[string]string, error) {
	var o object
	path := "/api/v1/namespaces/" + url.PathEscape(who.Namespace) + "/serviceaccounts/" + url.PathEscape(who.Name)
	if err := k.ask(ctx, http.MethodGet, path, bearer, nil, &o); err != nil {
		return nil, err
	}
	if o.Metadata.Name != who.Name || o.Metadata.Namespace != who.Namespace || o.Metadata.UID != who.UID {
		return nil, errAnswer
	}
	out := map[string]string{}
	for key, value := range o.Metadata.Annotations {
		if name, ok := strings.CutPrefix(key, "vault.hashicorp.com/alias-metadata-"); ok && len(out) < maxAnnotations && len(name) <= maxItem && len(value) <= maxItem {
			out[name] = value
		}
	}
	return out, nil
}

// maxAnnotations is how many annotations go into an alias.
const maxAnnotations = 32
