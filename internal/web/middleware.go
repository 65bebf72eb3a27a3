package web

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Middleware wraps a whole server's handler: it gives each request an id, sets
// headers that make a browser careful, turns a panic into a 500, and writes one
// line per request to the log.
//
// The line names the route, never the path or the query: names of flags, keys
// and people's ids stay out of it. What went well is debug, what the caller did
// wrong is debug with its reason, what we did wrong is an error with its cause.
func Middleware(logger *slog.Logger, next http.Handler) http.Handler {
	if logger == nil {
		logger = slog.Default()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ex := &exchange{Context: r.Context(), id: [1]string{requestID(r)}, began: time.Now(), logger: logger, writer: writer{ResponseWriter: w}}
		r = r.WithContext(ex)
		h := w.Header()
		careful(h)
		h["X-Request-Id"] = ex.id[:]

		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				ex.stack = debug.Stack()
				Fail(&ex.writer, r, fmt.Errorf("panic: %v", p))
			}
			ex.log(r)
		}()
		next.ServeHTTP(&ex.writer, r)
	})
}

// careful sets headers for answers that are data. A handler that serves a page
// overrides what the page needs.
func careful(h http.Header) {
	h["X-Content-Type-Options"] = nosniff
	h["Content-Security-Policy"] = nothing
	h["Referrer-Policy"] = noReferrer
	h["Cache-Control"] = noStore
}

// Values of headers that every answer shares; nobody appends to them.
var (
	nosniff    = []string{"nosniff"}
	nothing    = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferrer = []string{"no-referrer"}
	noStore    = []string{"no-store"}
)

// requestID takes the caller's id when it is plain, so that a proxy's id can be
// found in our log, and else makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if len(id) == 0 || len(id) > 64 {
		return newID()
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return newID()
		}
	}
	return id
}

// Ids that we make are this process's own text and a number: they tell requests
// apart, and nobody needs to be unable to guess one.
var (
	process = rand.Text()
	made    atomic.Uint64
)

func newID() string {
	text := append(make([]byte, 0, 48), process...)
	return string(strconv.AppendUint(append(text, '-'), made.Add(1), 10))
}

// maxLogged bounds each text that a caller may have influenced.
const maxLogged = 1 << 10

func (ex *exchange) log(r *http.Request) {
	status := ex.writer.status
	if status == 0 {
		status = http.StatusOK
	}
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError && StatusOf(ex.err) != http.StatusServiceUnavailable {
		level = slog.LevelError
	}
	if !ex.logger.Enabled(r.Context(), level) {
		return
	}
	route := r.Pattern
	if route == "" {
		route = "unmatched"
	}
	attrs := []slog.Attr{
		slog.String("request_id", ex.id[0]),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Int64("bytes", ex.writer.bytes),
		slog.Duration("took", time.Since(ex.began)),
	}
	if ex.err != nil {
		attrs = append(attrs, slog.String("error", clip(ex.err.Error())))
	}
	if ex.stack != nil {
		attrs = append(attrs, slog.String("stack", string(ex.stack)))
	}
	ex.logger.LogAttrs(r.Context(), level, "request served", attrs...)
}

// clip cuts a text for the log.
func clip(s string) string {
	if len(s) > maxLogged {
		return strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}

// writer remembers what was answered.
type writer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets [http.ResponseController] reach the real writer.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements [http.Flusher] for event streams.
func (w *writer) Flush() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // unsupported: then there is nothing to flush
}

// Hijack implements [http.Hijacker] for WebSocket upgrades.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil && w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}
