package gate

import (
	"context"
	"log/slog"
	"sync"
)

// uses knows the requests under way of tokens with a limited number of uses. What
// hangs on such a token (its row, its cubbyhole, its children) is cleared away
// once the last of them has ended, not merely the one that came last: the others
// have counted too, and may still need it. Of requests on other nodes nothing is known:
// where there may be any, the schedule clears away, after a while.
type uses struct {
	mu     sync.Mutex
	tokens map[holder]*use
}

// holder names a token.
type holder struct{ namespace, id string }

type use struct {
	requests int
	spent    bool // one of them was the last that the token had
}

func (u *uses) begin(h holder) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tokens == nil {
		u.tokens = map[holder]*use{}
	}
	if u.tokens[h] == nil {
		u.tokens[h] = &use{}
	}
	u.tokens[h].requests++
}

// end takes note of a request that has ended, and of whether it was the token's
// last use. It reports whether the token is to be cleared away now.
func (u *uses) end(h holder, spent bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := u.tokens[h]
	t.requests--
	t.spent = t.spent || spent
	if t.requests > 0 {
		return false
	}
	delete(u.tokens, h)
	return t.spent
}

// leave ends the request's use of its token. It is dead already when it is
// cleared away here: should that fail, the schedule does it.
func (p *passage) leave() {
	if p.using == (holder{}) || !p.gate.uses.end(p.using, p.spent) || !p.house.Alone {
		return
	}
	if err := p.house.Tokens.Revoke(context.WithoutCancel(&p.call), p.using.namespace, p.using.id); err != nil {
		p.gate.log.Warn("clearing a used-up token away", slog.String("request_id", p.r.ID), slog.Any("error", err))
	}
}
