package kubernetes

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/authtest"
)

// apiServer speaks the parts of a cluster's API that the method uses, as they are
// documented, and is strict about what it is sent.
type apiServer struct {
	*testing.T
	url, ca  string
	tokens   map[string]*tokenReview // by token: what is answered about it
	bearers  []string                // whom it answers
	labels   map[string]string       // of the namespace default
	notes    map[string]string       // annotations of the service account default/web
	uid      string                  // of default/web
	status   int                     // of all answers; 0: as it should be
	raw      string                  // in place of all answers
	asked    int
	observed reviewSpec
}

func cluster0(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{T: t, tokens: map[string]*tokenReview{}, bearers: []string{"re.view.er"}, uid: "u1"}
	h := httptest.NewTLSServer(s)
	t.Cleanup(h.Close)
	s.url, s.ca = h.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}))
	s.tokens["a.b.c"] = known("web", "default")
	return s
}

// known is the answer about a token of a service account.
func known(name, namespace string) *tokenReview {
	a := &tokenReview{Version: reviewVersion, Kind: reviewKind}
	a.Status.Authenticated = true
	a.Status.Audiences = []string{"https://kubernetes.default.svc"}
	a.Status.User.Username, a.Status.User.UID = userPrefix+namespace+":"+name, "u1"
	a.Status.User.Groups = []string{accountsGroup, "system:serviceaccounts:" + namespace, "system:authenticated"}
	return a
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked++
	if s.raw != "" || s.status != 0 {
		w.WriteHeader(max(s.status, 200))
		s.write(w, []byte(s.raw))
		return
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || !slices.Contains(s.bearers, bearer) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/apis/authentication.k8s.io/v1/tokenreviews":
		s.review(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/namespaces/default":
		s.object(w, map[string]any{"name": "default", "labels": s.labels})
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/namespaces/default/serviceaccounts/web":
		s.object(w, map[string]any{"name": "web", "namespace": "default", "uid": s.uid, "annotations": s.notes})
	default:
		s.Errorf("was asked for %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *apiServer) review(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.Error(err)
	}
	var q struct {
		Version string     `json:"apiVersion"`
		Kind    string     `json:"kind"`
		Spec    reviewSpec `json:"spec"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || q.Version != "authentication.k8s.io/v1" || q.Kind != "TokenReview" || r.Header.Get("Content-Type") != "application/json" {
		s.Errorf("was asked %s: %v", b, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.observed = q.Spec
	a := s.tokens[q.Spec.Token]
	if a == nil {
		a = &tokenReview{Version: reviewVersion, Kind: reviewKind, Status: reviewStatus{Error: "invalid bearer token"}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	s.json(w, a)
}

func (s *apiServer) object(w http.ResponseWriter, metadata any) {
	s.json(w, map[string]any{"apiVersion": "v1", "metadata": metadata})
}

func (s *apiServer) json(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.Error(err)
	}
	s.write(w, b)
}

func (s *apiServer) write(w http.ResponseWriter, b []byte) {
	if _, err := w.Write(b); err != nil {
		s.Error(err)
	}
}

// mounted is a mount of the method.
type mounted struct{ *authtest.Mount }

func open(t testing.TB) *mounted { return &mounted{authtest.Open(t, Engine)} }

type fields = authtest.Fields
