package audit

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// TestRefusalHasItsRemedy: who is refused for want of an audit file learns how it is allowed, and not where it lies.
func TestRefusalHasItsRemedy(t *testing.T) {
	_, err := Open(&Declaration{Type: "file", Path: "file/", Options: map[string]string{"file_path": "/elsewhere/audit.log"}}, Env{})
	var told *api.Error
	if err == nil || !errors.As((&Sink{path: "file/"}).unavailable(err), &told) || !strings.Contains(told.Hint, "audit_directory") || strings.Contains(told.Message+told.Hint, "elsewhere") {
		t.Errorf("%v is told as %+v", err, told)
	}
}
