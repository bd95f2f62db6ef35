package jwt

import (
	"bytes"
	"html/template"
	"net/http"

	"github.com/strongroom/strongroom/internal/api"
)

// form is what browsers are shown. It holds no script and no style, and is
// served with a policy that allows none.
const form = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title></head>
<body>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{- if .State}}
<form method="get" action="callback">
<input type="hidden" name="state" value="{{.State}}">
<input type="hidden" name="code" value="{{.Code}}">
<p><label>Code: <input name="confirmation" autocomplete="off" autofocus required maxlength="20"></label>
<button>Log in</button></p>
</form>
<p>The login is by the role {{.Role}}, and was begun at the address {{.Remote}}.</p>
{{- end}}
</body>
</html>
`

// view is what a page shows.
type view struct {
	Title, Text               string
	State, Code, Role, Remote string // of a page that asks
}

// kind is which page it is.
type kind uint8

const (
	pageDone kind = iota
	pageFailed
	pageBack
)

// page is an answer to a browser.
func page(which kind, why string) (*api.Answer, error) {
	switch which {
	case pageFailed:
		return show(http.StatusBadRequest, view{Title: "The login has failed", Text: "Why: " + why + ". Begin anew."})
	case pageBack:
		return show(http.StatusOK, view{Title: "The provider has answered", Text: "Go back to the program that began the login."})
	}
	return show(http.StatusOK, view{Title: "You are logged in", Text: "Close this window, and go back to the program that began the login."})
}

// confirmPage asks for the code that the program shows which began the login.
func confirmPage(f *flow, req *CallbackRequest) (*api.Answer, error) {
	text := "Type the code that the program shows in which you have begun this login. Have you begun none, or did somebody send you here? Then close this window."
	if f.Wrong > 0 {
		text = "That was not the code. " + text
	}
	return show(http.StatusOK, view{Title: "Was it you?", Text: text, State: flowName(req.State), Code: req.Code, Role: f.Role, Remote: f.Remote})
}

func show(status int, v view) (*api.Answer, error) {
	t, err := template.New("page").Parse(form)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, err
	}
	return &api.Answer{Raw: &api.Raw{ContentType: "text/html; charset=utf-8", Status: status, Body: b.Bytes()}}, nil
}
