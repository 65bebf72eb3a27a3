package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/web"
)

func serve(t *testing.T, log io.Writer, f web.HandlerFunc, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("GET /things/{name}", web.Handle(f))
	mux.Handle("/", web.Unmatched(mux))
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := httptest.NewRequest(http.MethodGet, "/things/hush?user=hush", nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	web.Middleware(logger, mux).ServeHTTP(w, r)
	return w
}

func TestAnErrorBecomesAProblemDocument(t *testing.T) {
	w := serve(t, io.Discard, func(http.ResponseWriter, *http.Request) error {
		return &web.Error{Code: web.CodeStale, Message: "read it again", Err: errors.New("secret cause"),
			Problems: []web.FieldProblem{{Pointer: "/a", Code: "x", Message: "m"}},
			Extra:    map[string]any{"conflicts": []string{"/a"}}, RetryAfter: 1500 * time.Millisecond}
	}, "X-Request-Id", "abc-1")
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("the problem is not JSON: %v", err)
	}
	want := map[string]any{
		"type": "urn:sluice:problem:stale", "title": "The resource has changed since it was read", "status": 412.0, "code": "stale",
		"detail": "read it again", "instance": "abc-1", "conflicts": []any{"/a"},
		"errors": []any{map[string]any{"pointer": "/a", "code": "x", "message": "m"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problem document (-want +got):\n%s", diff)
	}
	if w.Code != 412 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Retry-After") != "2" || w.Header().Get("X-Request-Id") != "abc-1" {
		t.Errorf("answer = %d %v", w.Code, w.Header())
	}
}

func TestEveryCodeHasAClientOrServerStatusAndATitle(t *testing.T) {
	for code, status := range web.Codes() {
		w := serve(t, io.Discard, func(http.ResponseWriter, *http.Request) error { return &web.Error{Code: code} })
		if status < 400 || w.Code != status || !strings.Contains(w.Body.String(), `"title":"`) {
			t.Errorf("%s answered %d %s, want status %d >= 400 and a title", code, w.Code, w.Body, status)
		}
	}
}

func TestWhatIsNotForTheCallerStaysInTheLog(t *testing.T) {
	for name, f := range map[string]web.HandlerFunc{
		"an error without a code": func(http.ResponseWriter, *http.Request) error { return errors.New("password of the database") },
		"a panic":                 func(http.ResponseWriter, *http.Request) error { panic("password of the database") },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			w := serve(t, &log, f)
			if w.Code != 500 || strings.Contains(w.Body.String(), "password") {
				t.Errorf("answer = %d %s, want a 500 that says nothing", w.Code, w.Body)
			}
			if !strings.Contains(log.String(), "password of the database") || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), `"level":"ERROR"`) {
				t.Errorf("log = %q, want one error line with the cause", log.String())
			}
		})
	}
}

func TestACallerWhoLeavesIsNoErrorOfTheLog(t *testing.T) {
	var log bytes.Buffer
	gone, leave := context.WithCancel(t.Context())
	mux := http.NewServeMux()
	mux.Handle("GET /slow", web.Handle(func(_ http.ResponseWriter, r *http.Request) error {
		leave()
		return fmt.Errorf("asking the warehouse: %w", context.Cause(r.Context()))
	}))
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w := httptest.NewRecorder()
	web.Middleware(logger, mux).ServeHTTP(w, httptest.NewRequestWithContext(gone, http.MethodGet, "/slow", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("answer = %d %s, want 503", w.Code, w.Body)
	}
	if line := log.String(); !strings.Contains(line, `"level":"DEBUG"`) || !strings.Contains(line, "asking the warehouse") {
		t.Errorf("log = %s, want a line for debugging with the cause", line)
	}
}

func TestTheLogNamesRoutesAndNeverPathsOrQueries(t *testing.T) {
	var log bytes.Buffer
	serve(t, &log, func(w http.ResponseWriter, _ *http.Request) error { return web.Respond(w, 200, "ok") })
	line := log.String()
	if strings.Contains(line, "hush") || !strings.Contains(line, `"route":"GET /things/{name}"`) || !strings.Contains(line, `"status":200`) {
		t.Errorf("log = %s, want the route and the status only", line)
	}
}

func TestHostileTextIsOneCutLineInTheLog(t *testing.T) {
	var log bytes.Buffer
	hostile := "x\r\n\x1b[31m%s" + strings.Repeat("A", 1<<20)
	w := serve(t, &log, func(http.ResponseWriter, *http.Request) error { return web.Errorf(web.CodeValidation, "%s", hostile) }, "X-Request-Id", "a\r\nb")
	if strings.Count(log.String(), "\n") != 1 || log.Len() > 16<<10 || strings.Contains(log.String(), "\x1b") {
		t.Errorf("log has %d bytes and %d lines, want one short escaped line", log.Len(), strings.Count(log.String(), "\n"))
	}
	if id := w.Header().Get("X-Request-Id"); strings.ContainsAny(id, "\r\n") || id == "" {
		t.Errorf("request id = %q, want a fresh one", id)
	}
}

func TestAnswersCarryCarefulHeaders(t *testing.T) {
	w := serve(t, io.Discard, func(w http.ResponseWriter, _ *http.Request) error { return web.Respond(w, 200, 1) })
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestAPortInUseIsOneClearLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = (&web.Server{Addr: l.Addr().String()}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "in use by another program") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Run() = %v, want one line that says the address is in use", err)
	}
}

func TestAStoppedServerFinishesWhatItHasBegun(t *testing.T) {
	began, finish, goodbye := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := &web.Server{Addr: "127.0.0.1:0", OnShutdown: func() { close(goodbye) }, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		_, _ = io.WriteString(w, "done")
	})}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + s.Address())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-began
	stop()
	<-goodbye
	close(finish)
	if got := <-answer; got != "done" {
		t.Errorf("the request in progress got %q, want done", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
}

func TestAnEntityTagIsFoundAmongThoseTheCallerHas(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  bool
	}{
		{"no header", nil, false},
		{"the tag", []string{`"41"`}, true},
		{"a weak one", []string{`W/"41"`}, true},
		{"among others", []string{`"7", "41"`}, true},
		{"on a second line", []string{`"7"`, `"41"`}, true},
		{"any", []string{"*"}, true},
		{"another", []string{`"410"`, "41"}, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["If-None-Match"] = c.lines
		if got := web.NoneMatch(r, `"41"`); got != c.want {
			t.Errorf("%s: NoneMatch(%q) = %v, want %v", c.name, c.lines, got, c.want)
		}
	}
}
