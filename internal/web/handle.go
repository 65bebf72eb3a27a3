package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A HandlerFunc serves a request or says why it could not.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// Handle turns f into a handler whose errors become problem documents.
func Handle(f HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			Fail(w, r, err)
		}
	})
}

// Fail answers with the problem document of err. When the answer has already
// begun, the document cannot be sent and only the log learns of err.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	ex := exchangeOf(w)
	ex.fail(err)
	if ex.wrote() {
		return
	}
	e, ok := errors.AsType[*Error](err)
	switch {
	case ok:
	case r.Context().Err() != nil && errors.Is(err, context.Canceled):
		e = &Error{Code: CodeUnavailable, Message: "the request was cancelled before it was done", Err: err}
		ex.fail(e) // callers who leave are no failure of ours
	default:
		e = Errorf(CodeInternal, "the cause is in the server's log under this request id")
	}
	if e.Code == CodeTooLarge {
		linger(w, r)
	}
	h := w.Header()
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	if e.Code == CodeUnauthenticated {
		h.Set("WWW-Authenticate", `Bearer realm="sluice"`)
	}
	h.Del("ETag") // an error is not a version of the resource
	h.Set("Content-Type", "application/problem+json")
	body, merr := json.Marshal(e.document(ex.id[0]))
	if merr != nil {
		ex.fail(errors.Join(err, merr))
		body = []byte(`{"type":"urn:sluice:problem:internal","status":500,"code":"internal"}`)
		e = &Error{Code: CodeInternal}
	}
	w.WriteHeader(e.Code.Status())
	_, _ = w.Write(append(body, '\n')) // the caller has gone: nobody is left to tell
}

// How much of a body that is too large is read and forgotten, and for how long: a
// caller who still sends when the connection ends may never see the answer. The
// server reads as much again before it answers, within the same time.
const (
	lingerBytes = 256 << 10
	lingerFor   = time.Second
)

// linger reads on for a moment. Who asked first whether to send sends nothing.
func linger(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Header.Get("Expect") != "" {
		return
	}
	if http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerFor)) == nil {
		_, _ = io.CopyN(io.Discard, r.Body, lingerBytes)
	}
}

// document is the problem document of RFC 9457 with our members beside it.
func (e *Error) document(requestID string) map[string]any {
	code := e.Code
	if _, ok := kinds[code]; !ok {
		code = CodeInternal
	}
	doc := make(map[string]any, 7+len(e.Extra))
	for name, value := range e.Extra {
		doc[name] = value
	}
	doc["type"] = "urn:sluice:problem:" + strings.ReplaceAll(string(code), "_", "-")
	doc["title"] = kinds[code].title
	doc["status"] = code.Status()
	doc["code"] = code
	doc["instance"] = requestID
	if e.Message != "" {
		doc["detail"] = e.Message
	}
	if len(e.Problems) > 0 {
		doc["errors"] = e.Problems
	}
	return doc
}

// Respond answers with v as JSON.
func Respond(w http.ResponseWriter, status int, v any) error {
	body := bodies.Get().(*bytes.Buffer)
	defer func() {
		if body.Cap() <= keptBody {
			bodies.Put(body)
		}
	}()
	body.Reset()
	if err := json.NewEncoder(body).Encode(v); err != nil {
		return err
	}
	Send(w, status, body.Bytes())
	return nil
}

// Send answers with a JSON text, which it does not keep.
func Send(w http.ResponseWriter, status int, text []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	if len(text) > counted {
		h.Set("Content-Length", strconv.Itoa(len(text)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(text) // the caller has gone: nobody is left to tell
}

// counted is the length up to which net/http itself says how long an answer is.
const counted = 2 << 10

// keptBody bounds the buffers that wait for the next answer.
const keptBody = 64 << 10

var (
	bodies   = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	jsonType = []string{"application/json"} // shared: nobody appends to it
)

// methods are those that a path may answer to.
var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// Unmatched answers what no other route of mux does, with a problem document:
// 405 where another method would do, else 404. Mount it at "/".
func Unmatched(mux *http.ServeMux) http.Handler {
	return Handle(func(w http.ResponseWriter, r *http.Request) error {
		var allowed []string
		for _, method := range methods {
			probe := r.Clone(r.Context())
			probe.Method = method
			if _, pattern := mux.Handler(probe); pattern != "/" {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			return Errorf(CodeNotFound, "nothing is served at this path")
		}
		list := strings.Join(allowed, ", ")
		w.Header().Set("Allow", list)
		return Errorf(CodeMethodNotAllowed, "this path answers to %s", list)
	})
}

// exchangeOf leads from the writer that a handler was given, which others may have
// wrapped, to what the middleware remembers of the request.
func exchangeOf(w http.ResponseWriter) *exchange {
	for {
		switch v := w.(type) {
		case *exchange:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return &exchange{}
		}
	}
}
