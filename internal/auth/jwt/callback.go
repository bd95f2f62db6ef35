package jwt

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/jws"
)

const (
	noCode   = "no_code" // stands for a code that came by a form
	maxWrong = 3         // codes that may be typed wrong
)

// CallbackRequest is what the provider answered, by way of a browser. It comes in an address, as OAuth has it: what it
// holds is good once, and for who knows the client's secret.
type CallbackRequest struct {
	State            string `json:"state"`             // Names the login.
	Code             string `json:"code"`              // What the provider gives tokens for.
	ClientNonce      string `json:"client_nonce"`      // What the client began the login with.
	Error            string `json:"error"`             // Why the provider refuses.
	ErrorDescription string `json:"error_description"` // More about it; not looked at.
	ErrorURI         string `json:"error_uri"`         // More about it; not looked at.
	Confirmation     string `json:"confirmation"`      // Of a direct login: the code that was shown to whoever began it.
}

// FormRequest is what the provider answered, in a form that a browser posts.
type FormRequest struct {
	State            api.Secret `json:"state"`             // Names the login.
	Code             api.Secret `json:"code"`              // What the provider gives tokens for.
	IDToken          api.Secret `json:"id_token"`          // The token itself, from providers that are asked for it.
	Error            string     `json:"error"`             // Why the provider refuses.
	ErrorDescription string     `json:"error_description"` // More about it; not looked at.
	ErrorURI         string     `json:"error_uri"`         // More about it; not looked at.
}

// PollRequest asks whether a login has been finished.
type PollRequest struct {
	State       api.Secret `json:"state"`        // Names the login.
	ClientNonce api.Secret `json:"client_nonce"` // What the client began it with.
}

// flowName is the state as it was made, without the namespace that went with it.
func flowName(state string) string {
	name, _, _ := strings.Cut(state, nsMark)
	return name
}

// callback finishes a login through the provider's page. To the program that began it, it
// answers a token; to a browser, a page.
func (e engine) callback(c *api.Call, req *CallbackRequest) (*api.Answer, error) {
	cfg, err := configured(c)
	if err != nil {
		return nil, err
	}
	var f flow
	step := goOn
	err = with(c, flowName(req.State), func(now *flow) (ended bool, err error) {
		if now.Mode == byDevice || now.Used || now.Config != cfg.ID {
			return false, errFlow()
		}
		if now.Mode == byClient {
			f, step = *now, goOn
			if !now.knows(req.ClientNonce) {
				return true, api.Errorf(api.Invalid, "invalid client_nonce")
			}
			return true, nil
		}
		step = now.confirm(req)
		f = *now
		return step == giveUp, nil
	})
	switch {
	case err != nil:
		return nil, err
	case step == giveUp:
		return page(pageFailed, "a wrong code was typed too often")
	case step == askAgain:
		return confirmPage(&f, req)
	}
	if f.Mode == byDirect {
		return e.finishDirect(c, cfg, &f, req)
	}
	who, err := e.finish(c, cfg, &f, req)
	if err != nil {
		return nil, failed(err)
	}
	auth, err := grant(c, f.Role, who)
	if err != nil {
		return nil, failed(err)
	}
	return &api.Answer{Auth: auth, MountType: c.Mount.Type}, nil
}

// step is how a direct login goes on.
type step uint8

// How it goes on.
const (
	goOn step = iota
	askAgain
	giveUp
)

// confirm wants whoever the browser belongs to to type the code that was shown to whoever began the login: who
// was sent an address by somebody else does not have it (CVE-2026-33757).
func (f *flow) confirm(req *CallbackRequest) step {
	typed := letters(req.Confirmation)
	switch {
	case req.Error != "":
	case req.Confirmation == "":
		return askAgain
	case !equal(hashed(typed), hashed(letters(f.UserCode))):
		if f.Wrong++; f.Wrong >= maxWrong {
			return giveUp
		}
		return askAgain
	}
	f.Used = true
	return goOn
}

// letters is a code as people type it, without what they put between.
func letters(code string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			r += 'A' - 'a'
		}
		if r < 'A' || r > 'Z' {
			return -1
		}
		return r
	}, code)
}

// finish takes from the provider's answer who has logged in.
func (engine) finish(c *api.Call, cfg *config, f *flow, req *CallbackRequest) (*person, error) {
	if req.Error != "" {
		return nil, refusal(req.Error)
	}
	r, err := roleOf(c, c.Store, f.Role)
	switch {
	case err != nil:
		return nil, err
	case r == nil || r.Type != typeOIDC:
		return nil, wrong("the role is gone")
	}
	p, err := cfg.provider(c)
	if err != nil {
		return nil, err
	}
	code := req.Code
	if code == noCode {
		code = f.Code
	}
	t := &tokens{ID: f.IDToken}
	switch {
	case p.has(forCode) && code != "":
		if t, err = p.exchange(c, f, code); err != nil {
			return nil, err
		}
	case !p.has(forID) || t.ID == "":
		return nil, wrong("the provider gave no code or id_token")
	}
	return p.identify(c, r, t, f.Nonce)
}

// refusal is an error that the provider has answered: by its name where that is one of the
// standard's (RFC 6749 4.1.2.1, RFC 8628 3.5), since others could be anything.
func refusal(name string) error {
	name = strings.ToLower(strings.TrimSpace(name))
	if slices.Contains([]string{"invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope",
		"server_error", "temporarily_unavailable", "expired_token", "invalid_grant", "invalid_client", "login_required", "consent_required", "interaction_required"}, name) {
		return wrong("the provider answers %s", name)
	}
	return wrong("the provider refuses")
}

// finishDirect finishes a login whose program polls for the token.
func (e engine) finishDirect(c *api.Call, cfg *config, f *flow, req *CallbackRequest) (*api.Answer, error) {
	who, why := e.finish(c, cfg, f, req)
	text := ""
	if why != nil {
		var known *api.Error
		if !errors.As(failed(why), &known) || known.Kind == api.Internal {
			return nil, why
		}
		text = known.Message
	}
	err := with(c, flowName(req.State), func(now *flow) (bool, error) {
		now.Person, now.Failed = who, text
		now.Code, now.IDToken = "", ""
		return false, nil
	})
	switch {
	case err != nil:
		return nil, err
	case text != "":
		return page(pageFailed, text)
	}
	return page(pageDone, "")
}

// formPost takes a provider's answer that comes by a form (OAuth 2.0 Form Post Response Mode), and keeps it
// until the login is finished as others are.
func (engine) formPost(c *api.Call, req *FormRequest) (*api.Answer, error) {
	cfg, err := configured(c)
	if err != nil {
		return nil, err
	}
	if cfg.ResponseMode != byForm {
		return nil, &api.Error{Kind: api.Unsupported}
	}
	code, id := req.Code.Reveal(), req.IDToken.Reveal()
	if len(code) > 8*maxNonce || len(id) > jws.MaxToken {
		return nil, api.Errorf(api.Invalid, "code, id_token: too long")
	}
	var f flow
	err = with(c, flowName(req.State.Reveal()), func(now *flow) (bool, error) {
		if now.Mode == byDevice || now.Used || now.Config != cfg.ID || now.Code != "" || now.IDToken != "" {
			return false, errFlow()
		}
		now.Code, now.IDToken = code, id
		f = *now
		return false, nil
	})
	switch {
	case err != nil:
		return nil, err
	case req.Error != "":
		return page(pageFailed, refusal(req.Error).Error())
	case f.Mode == byDirect:
		return confirmPage(&f, &CallbackRequest{State: req.State.Reveal(), Code: noCode})
	}
	return page(pageBack, "")
}

// errPending is the answer to who polls too early, as RFC 8628 3.5 spells it.
func errPending() error { return api.Errorf(api.Invalid, "authorization_pending") }

// poll answers the token of a direct login or one by device, once it is finished; before,
// that it is pending.
func (e engine) poll(c *api.Call, req *PollRequest) (*api.Auth, error) {
	cfg, err := configured(c)
	if err != nil {
		return nil, err
	}
	var f flow
	err = with(c, flowName(req.State.Reveal()), func(now *flow) (ended bool, err error) {
		f = *now
		switch {
		case now.Mode == byClient || now.Config != cfg.ID:
			return false, errFlow()
		case !now.knows(req.ClientNonce.Reveal()):
			return true, api.Errorf(api.Invalid, "invalid client_nonce")
		case now.Failed != "":
			return true, api.Errorf(api.Invalid, "%s", now.Failed)
		case now.Person != nil:
			return true, nil
		case now.Mode == byDirect:
			return false, errPending()
		case c.Now.Before(now.Next):
			return false, api.Errorf(api.Invalid, "slow_down")
		}
		now.Next = c.Now.Add(now.Interval - time.Second) // clients' clocks are not ours
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	who := f.Person
	if f.Mode == byDevice {
		if who, err = e.askDevice(c, cfg, &f, req); err != nil {
			return nil, err
		}
	}
	auth, err := grant(c, f.Role, who)
	if err != nil {
		return nil, failed(err)
	}
	return auth, nil
}

// askDevice asks the provider whether a login by device is finished, and ends it when it is.
func (engine) askDevice(c *api.Call, cfg *config, f *flow, req *PollRequest) (*person, error) {
	p, err := cfg.provider(c)
	if err != nil {
		return nil, err
	}
	t, err := p.token(c, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {f.Device}})
	if err != nil {
		return nil, failed(err)
	}
	waits := t.Error == "authorization_pending" || t.Error == "slow_down"
	err = with(c, flowName(req.State.Reveal()), func(now *flow) (bool, error) {
		if t.Error == "slow_down" {
			now.Interval += usualInterval
			now.Next = c.Now.Add(now.Interval - time.Second)
		}
		return !waits, nil // another poll that was as early finds nothing
	})
	switch {
	case err != nil:
		return nil, err
	case waits:
		return nil, api.Errorf(api.Invalid, "%s", t.Error)
	case t.Error != "":
		return nil, failed(refusal(t.Error))
	}
	r, err := roleOf(c, c.Store, f.Role)
	if err == nil && r == nil {
		err = wrong("the role is gone")
	}
	if err != nil {
		return nil, failed(err)
	}
	who, err := p.identify(c, r, t, "")
	if err != nil {
		return nil, failed(err)
	}
	return who, nil
}

// grant is the answer to a login that is finished, by the role as it is now.
func grant(c *api.Call, name string, who *person) (*api.Auth, error) {
	r, err := roleOf(c, c.Store, name)
	switch {
	case err != nil:
		return nil, err
	case r == nil || r.Type != typeOIDC:
		return nil, wrong("the role is gone")
	}
	return r.auth(c, name, who)
}
