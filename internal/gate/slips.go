package gate

import (
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// warnUnknown tells, beside an answer, of what was not understood: in the words that clients of Vault know, and what was
// probably meant.
func (p *passage) warnUnknown() {
	if len(p.unknown) == 0 {
		return
	}
	slices.Sort(p.unknown)
	p.call.Warn("Endpoint ignored these unrecognized parameters: [" + strings.Join(p.unknown, " ") + "]")
	if text := p.meant(); text != "" {
		p.call.Warn(text)
	}
}

// meant asks about names that are spelled nearly as others that the endpoint knows; empty: there are none.
func (p *passage) meant() string {
	var asks []string
	for _, s := range p.match.Endpoint.Request.Slips(p.r.Body) {
		asks = append(asks, s.Meant+" in place of "+s.Sent)
	}
	if len(asks) == 0 {
		return ""
	}
	return "did you mean " + strings.Join(asks, ", ") + "?"
}

// hinted is a failure with that question, where it may be the answer: a value is missing or wrong that the request has
// under another name. It is asked of nobody who may not ask the endpoint.
func (p *passage) hinted(e *api.Error, err error) error {
	if e.Kind != api.Invalid || !p.acted && !errors.Is(p.misread, err) {
		return err
	}
	text := p.meant()
	if text == "" {
		return err
	}
	told := *e
	if told.Hint != "" {
		text = told.Hint + "; " + text
	}
	told.Hint = text
	return &told
}
