package vault

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
)

func TestFieldsDoNotHideTheEnvelope(t *testing.T) {
	data := `{"auth":["root"],"Data":["deny"],"secret/\"x\"":["read"],"RENEWABLE":1,"n":{"auth":2}}`
	out := envelope(&gate.Response{RequestID: "id", Flags: api.Flat, Data: []byte(data)}, []byte(data))
	if got := string(appendFlat(nil, []byte(data))); got != `"secret/\"x\"":["read"],"n":{"auth":2},` {
		t.Errorf("repeats %s", got)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	if string(all["auth"]) != "null" || string(all["data"]) != data || string(all["renewable"]) != "false" || strings.Count(string(out), `"auth":["root"]`) != 1 {
		t.Errorf("%s", out)
	}
	for _, none := range []string{"[1]", "null", "{}", `{"a":`} {
		if got := appendFlat(nil, []byte(none)); len(got) > 0 {
			t.Errorf("%s repeats %s", none, got)
		}
	}
}

func FuzzFlat(f *testing.F) {
	f.Add(`{"a":1,"auth":2}`)
	f.Fuzz(func(t *testing.T, object string) {
		if !json.Valid([]byte(object)) || object[0] != '{' {
			return
		}
		if got := string(appendFlat([]byte("{"), []byte(object))) + `"end":1}`; !json.Valid([]byte(got)) {
			t.Errorf("%s became %s", object, got)
		}
	})
}
