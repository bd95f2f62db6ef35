package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// bareHandler is the yardstick: what a net/http handler costs in Go that decodes the JSON it is sent and encodes the JSON it
// answers, and does nothing else. A request to /learn/NAME teaches it an answer, which it decodes once; from then on it encodes
// that answer for every request to /NAME. So it answers the very JSON that the measured server answers.
type bareHandler struct {
	mu      sync.RWMutex
	answers map[string]any
}

func serveBare(addr string) error {
	h := &bareHandler{answers: map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /learn/{name}", h.learn)
	mux.HandleFunc("/{name}", h.answer)
	s := http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: time.Minute}
	return s.ListenAndServe()
}

func (h *bareHandler) learn(w http.ResponseWriter, r *http.Request) {
	var answer any
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[r.PathValue("name")] = answer
}

func (h *bareHandler) answer(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.RLock()
	answer, known := h.answers[r.PathValue("name")]
	h.mu.RUnlock()
	if !known {
		http.NotFound(w, r)
		return
	}
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(text); err != nil {
		return // The client has gone; there is nobody to tell.
	}
}
