package telemetry_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/telemetry"
)

func TestOpsAnswersHealthReadinessAndMetrics(t *testing.T) {
	var notReady error
	ops := telemetry.Ops(telemetry.NewRegistry(), func() error { return notReady })
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		ops.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		name, path string
		ready      error
		status     int
		contains   string
	}{
		{"a process is alive though it is not ready", "/healthz", errors.New("no state"), 200, "ok"},
		{"a ready process says so", "/readyz", nil, 200, "ready"},
		{"a process that is not ready says why", "/readyz", errors.New("no state yet"), 503, "no state yet"},
		{"metrics name the build", "/metrics", nil, 200, "build_info{"},
		{"profiles are here", "/debug/pprof/", nil, 200, "goroutine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			notReady = c.ready
			if status, body := get(c.path); status != c.status || !strings.Contains(body, c.contains) {
				t.Errorf("GET %s = %d %.200q; want %d with %q", c.path, status, body, c.status, c.contains)
			}
		})
	}
}

func TestManyOfAKindShareTheirMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	one := telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "shared_total"}))
	two := telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "shared_total"}))
	other := telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "other_total"}))
	alone := telemetry.Register(nil, prometheus.NewCounter(prometheus.CounterOpts{Name: "shared_total"}))
	if one != two || one == other || one == alone {
		t.Errorf("Register() twice = %p and %p, of another name %p, of no registry %p; want the first two the same", one, two, other, alone)
	}
}

func TestWhatIsDegradedIsSaidAndStaysReady(t *testing.T) {
	ops := telemetry.Ops(telemetry.NewRegistry(), func() error { return nil }, func() error { return errors.New("facts wait") })
	w := httptest.NewRecorder()
	ops.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if want := "ready\ndegraded: facts wait\n"; w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("GET /readyz = %d %q; want 200 %q", w.Code, w.Body, want)
	}
}
