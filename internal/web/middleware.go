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
		ex := &exchange{ResponseWriter: w, id: [1]string{requestID(r)}, began: time.Now()}
		h := w.Header()
		careful(h)
		h["X-Request-Id"] = ex.id[:]

		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				ex.stack = debug.Stack()
				Fail(ex, r, fmt.Errorf("panic: %v", p))
			}
			ex.log(logger, r)
		}()
		next.ServeHTTP(ex, r)
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

func (ex *exchange) log(logger *slog.Logger, r *http.Request) {
	status := ex.status
	if status == 0 {
		status = http.StatusOK
	}
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError && StatusOf(ex.err) != http.StatusServiceUnavailable {
		level = slog.LevelError
	}
	if !logger.Enabled(r.Context(), level) {
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
		slog.Int64("bytes", ex.bytes),
		slog.Duration("took", time.Since(ex.began)),
	}
	if ex.err != nil {
		attrs = append(attrs, slog.String("error", clip(ex.err.Error())))
	}
	if ex.stack != nil {
		attrs = append(attrs, slog.String("stack", string(ex.stack)))
	}
	logger.LogAttrs(r.Context(), level, "request served", attrs...)
}

// clip cuts a text for the log.
func clip(s string) string {
	if len(s) > maxLogged {
		return strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}

// exchange is what the middleware remembers of one request and its answer. It is
// the writer that handlers are given, which leads [Fail] to it.
type exchange struct {
	http.ResponseWriter
	id     [1]string // as a header's values
	began  time.Time
	status int // of the answer; 0 before it has begun
	bytes  int64
	err    error
	stack  []byte // of a panic
}

func (ex *exchange) fail(err error) { ex.err = err }

func (ex *exchange) wrote() bool { return ex.status != 0 }

func (ex *exchange) WriteHeader(status int) {
	if ex.status == 0 && status >= http.StatusOK {
		ex.status = status
	}
	ex.ResponseWriter.WriteHeader(status)
}

func (ex *exchange) Write(p []byte) (int, error) {
	if ex.status == 0 {
		ex.status = http.StatusOK
	}
	n, err := ex.ResponseWriter.Write(p)
	ex.bytes += int64(n)
	return n, err
}

// Unwrap lets [http.ResponseController] reach the real writer.
func (ex *exchange) Unwrap() http.ResponseWriter { return ex.ResponseWriter }

// Flush implements [http.Flusher] for event streams.
func (ex *exchange) Flush() {
	if ex.status == 0 {
		ex.status = http.StatusOK
	}
	_ = http.NewResponseController(ex.ResponseWriter).Flush() // unsupported: then there is nothing to flush
}

// Hijack implements [http.Hijacker] for WebSocket upgrades.
func (ex *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(ex.ResponseWriter).Hijack()
	if err == nil && ex.status == 0 {
		ex.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}
