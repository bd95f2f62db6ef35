package chaos

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/anishathalye/porcupine"
)

// What clients do to a register.
const (
	opGet = iota
	opPut
	opCAS
	opDelete
)

// input is what was asked of a register, and output what was answered.
type input struct {
	op, value int
	version   int // expected by a check-and-set
}

type output struct {
	known   bool // whether there was an answer that tells what happened
	done    bool // whether it was done; a get has always been
	value   int  // 0: there is none
	version int  // 0: the register has no versions
}

// register is the state of one key: what it holds, by what version, and the value 0 once it is deleted.
type register struct{ version, value int }

// step is the model: whether a register could answer so, and what it then is.
func step(state, in, out any) (bool, any) {
	r, i, o := state.(register), in.(input), out.(output)
	next := register{r.version + 1, i.value}
	fits := !o.known || o.version == 0 || o.version == next.version
	switch i.op {
	case opGet:
		return o.value == r.value && (o.version == 0 || o.version == r.version), r
	case opPut:
		return fits, next
	case opDelete:
		return true, register{r.version, 0}
	}
	if o.known && o.done != (i.version == r.version) {
		return false, r
	}
	if i.version != r.version {
		return true, r
	}
	return fits, next
}

// model judges one register. Histories are checked key by key.
func model(first int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return register{0, first} },
		Step: step,
		DescribeOperation: func(in, out any) string {
			i, o := in.(input), out.(output)
			name := [...]string{"get", "put", "cas", "delete"}[i.op]
			return fmt.Sprintf("%s(%d, v%d) = %+v", name, i.value, i.version, o)
		},
	}
}

// log is what many clients did to one register.
type log struct{ ops []porcupine.Operation }

// history is what happened to all registers, and answers that none may give.
type history struct {
	began  time.Time
	enough int // operations that must be answered

	mu       sync.Mutex
	logs     map[string]*log
	first    map[string]int
	surprise []string
	unknown  int
	total    int
}

func newHistory(enough int) *history {
	return &history{began: time.Now(), enough: enough, logs: map[string]*log{}, first: map[string]int{}}
}

// answered counts the operations whose outcome is known.
func (h *history) answered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total - h.unknown
}

// do has a client do something to a register and notes it. What may have happened without an answer stays open to the end.
func (h *history) do(client int, key string, in input, act func() (output, error)) output {
	call := time.Since(h.began)
	out, err := act()
	end := int64(time.Since(h.began))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.total++
	if errors.Is(err, syscall.ECONNREFUSED) {
		h.unknown++
		return out // it was never sent
	}
	if err != nil && !errors.Is(err, errUnknown) {
		if h.surprise = append(h.surprise, fmt.Sprintf("%s: %v", key, err)); len(h.surprise) > 20 {
			h.surprise = h.surprise[:20]
		}
		return out
	}
	if !out.known {
		h.unknown++
		end = math.MaxInt64
		if in.op == opGet {
			return out
		}
	}
	if h.logs[key] == nil {
		h.logs[key] = &log{}
	}
	h.logs[key].ops = append(h.logs[key].ops, porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: end})
	return out
}

// starts says what a register holds before anybody does anything to it.
func (h *history) starts(key string, value int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first[key] = value
}

// verdict are the registers whose history no single copy could have answered, and those that could not be judged.
func (h *history) verdict() (illegal, unjudged []string) {
	const patience = 20 * time.Second
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, l := range h.logs {
		switch porcupine.CheckOperationsTimeout(model(h.first[key]), l.ops, patience) {
		case porcupine.Illegal:
			illegal = append(illegal, key)
		case porcupine.Unknown:
			unjudged = append(unjudged, key)
		}
	}
	slices.Sort(illegal)
	return illegal, unjudged
}

// describe is a register's history as it can be read, by the time at which things began.
func (h *history) describe(key string) string {
	ops := slices.SortedFunc(slices.Values(h.logs[key].ops), func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var out strings.Builder
	m := model(0)
	for _, o := range ops {
		end := time.Duration(o.Return).String()
		if o.Return == math.MaxInt64 {
			end = "?"
		}
		fmt.Fprintf(&out, "client %d %v-%s %s\n", o.ClientId, time.Duration(o.Call), end, m.DescribeOperation(o.Input, o.Output))
	}
	return out.String()
}

// age seeds a stale read: one get answers what was already written over when it began. It returns the registers changed.
func (h *history) age() []string {
	var out []string
	for key, l := range h.logs {
		if l.open() <= 2 && l.age() {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// open is how much done to the register has had no answer.
func (l *log) open() int {
	n := 0
	for _, o := range l.ops {
		if o.Return == math.MaxInt64 {
			n++
		}
	}
	return n
}

func (l *log) age() bool {
	for g := range l.ops {
		get := &l.ops[g]
		if get.Input.(input).op != opGet {
			continue
		}
		for _, old := range l.ops {
			o := old.Output.(output)
			if old.Input.(input).op != opPut || !o.known || o.version == 0 {
				continue
			}
			over := slices.ContainsFunc(l.ops, func(p porcupine.Operation) bool {
				po := p.Output.(output)
				return p.Input.(input).op == opPut && po.known && po.version > o.version && p.Return < get.Call
			})
			if over {
				get.Output = output{known: true, done: true, value: old.Input.(input).value, version: o.version}
				return true
			}
		}
	}
	return false
}

// errUnknown marks that nobody can say whether what was asked for has happened.
var errUnknown = errors.New("unknown outcome")

// answer is a status and the body decoded.
type answer struct {
	status int
	body   map[string]any
}

// number digs a number out of a body.
func (a answer) number(path ...string) int {
	n, _ := a.field(path...).(float64)
	return int(n)
}

func (a answer) text(path ...string) string {
	text, _ := a.field(path...).(string)
	return text
}

func (a answer) field(path ...string) any {
	var v any = a.body
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// ask sends a request; an answer of the 500s says as little as none.
func (c *client) ask(method, path string, body any) (answer, error) {
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		text = string(b)
	}
	status, got, err := c.send(method, path, text)
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("%w: %w", errUnknown, err)
	case status >= 500:
		return answer{}, fmt.Errorf("%w: %d %s", errUnknown, status, got)
	}
	a := answer{status: status}
	if len(got) > 0 {
		if err := json.Unmarshal(got, &a.body); err != nil {
			return a, fmt.Errorf("%d with no JSON: %w", status, err)
		}
	}
	return a, nil
}

// unexpected is an answer that a register never gives.
func (a answer) unexpected() error { return fmt.Errorf("answered %d: %v", a.status, a.body["errors"]) }

// plainRegister is a path that is written and read as a whole: KV version 1, or a cubbyhole.
func (c *client) plainRegister(path string, in input) (output, error) {
	var a answer
	var err error
	switch in.op {
	case opGet:
		a, err = c.ask("GET", path, nil)
	case opPut:
		a, err = c.ask("PUT", path, map[string]int{"n": in.value})
	case opDelete:
		a, err = c.ask("DELETE", path, nil)
	}
	switch {
	case err != nil:
		return output{}, err
	case a.status == http.StatusOK && in.op == opGet:
		return output{known: true, done: true, value: a.number("data", "n")}, nil
	case a.status == http.StatusNotFound && in.op == opGet, a.status == http.StatusNoContent && in.op != opGet:
		return output{known: true, done: true}, nil
	}
	return output{}, a.unexpected()
}

// versioned is a secret of KV version 2.
func (c *client) versioned(path string, in input) (output, error) {
	var a answer
	var err error
	switch in.op {
	case opGet:
		a, err = c.ask("GET", path, nil)
	case opDelete:
		a, err = c.ask("DELETE", path, nil)
	default:
		body := map[string]any{"data": map[string]int{"n": in.value}}
		if in.op == opCAS {
			body["options"] = map[string]int{"cas": in.version}
		}
		a, err = c.ask("POST", path, body)
	}
	if err != nil {
		return output{}, err
	}
	return versionedAnswer(a, in)
}

func versionedAnswer(a answer, in input) (output, error) {
	switch {
	case in.op == opGet && (a.status == http.StatusOK || a.status == http.StatusNotFound):
		return output{known: true, done: true, value: a.number("data", "data", "n"), version: a.number("data", "metadata", "version")}, nil
	case in.op == opDelete && a.status == http.StatusNoContent:
		return output{known: true, done: true}, nil
	case (in.op == opPut || in.op == opCAS) && a.status == http.StatusOK:
		return output{known: true, done: true, version: a.number("data", "version")}, nil
	case in.op == opCAS && a.status == http.StatusBadRequest && strings.Contains(fmt.Sprint(a.body["errors"]), "check-and-set"):
		return output{known: true}, nil
	}
	return output{}, a.unexpected()
}
