// Package telemetry is what operators look at: metrics, health and profiles, on
// a listener of their own that never faces the public.
package telemetry

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-flags/sluice/internal/buildinfo"
)

// NewRegistry returns a registry with what every Go process can tell of itself.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := buildinfo.Read()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "build_info",
		Help:        "Always 1; the labels say which build is running.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "go": build.Go},
	}, func() float64 { return 1 }))
	return reg
}

// Register registers c, or returns what is registered in its place already: for
// metrics that many of a kind share. A nil registerer registers nothing.
func Register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	return c
}

// Health registers /healthz, which answers while the process is alive, and
// /readyz, which answers 503 with the reason while ready returns an error. What
// degraded returns is said there too, and leaves the answer 200: something does
// not work, and sending requests elsewhere would not help.
func Health(mux *http.ServeMux, ready func() error, degraded ...func() error) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := ready(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ready")
		for _, part := range degraded {
			if err := part(); err != nil {
				fmt.Fprintln(w, "degraded:", err)
			}
		}
	})
}

// Ops returns the handler of the operators' listener: metrics, health, profiles.
func Ops(reg prometheus.Gatherer, ready func() error, degraded ...func() error) http.Handler {
	mux := http.NewServeMux()
	Health(mux, ready, degraded...)
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
