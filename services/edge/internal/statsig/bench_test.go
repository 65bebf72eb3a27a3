package statsig_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

// sink is a writer that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkRequests is what a request costs behind the server: from the
// middleware to the last byte that is written.
func BenchmarkRequests(b *testing.B) {
	w := newWorld(b, nil)
	for i := range 1000 {
		w.Put(b, w.Gate(fmt.Sprintf("gate_%d", i), edgetest.Only("u1", "u2")))
	}
	server, client := w.Key(b, flags.KeyServer), w.Key(b, flags.KeyClient)
	const user = `"user":{"userID":"u1","email":"jane@example.com","custom":{"plan":"pro"}}`
	for _, bench := range []struct{ name, method, path, key, body string }{
		{"check_gate/server", "POST", "/v1/check_gate", server, `{"gateName":"gate_7",` + user + `,"statsigMetadata":{"exposureLoggingDisabled":true}}`},
		{"check_gate/client", "POST", "/v1/check_gate", client, `{"gateName":"gate_7",` + user + `,"statsigMetadata":{"exposureLoggingDisabled":true}}`},
		{"features", "GET", "/features/gate/gate_7?user_id=u1&exposure=0", server, ""},
		{"initialize", "POST", "/v1/initialize", client, `{` + user + `}`},
		{"specs/sinceTime", "GET", "/v1/download_config_specs/" + server + ".json?sinceTime=9999999999999", "", ""},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := httptest.NewRequest(bench.method, bench.path, nil)
			if bench.key != "" {
				r.Header.Set("STATSIG-API-KEY", bench.key)
			}
			text := strings.NewReader(bench.body)
			out := &sink{header: http.Header{}}
			for b.Loop() {
				text.Reset(bench.body)
				r.Body, r.ContentLength = io.NopCloser(text), int64(len(bench.body))
				clear(out.header)
				w.handler.ServeHTTP(out, r)
			}
		})
	}
}
