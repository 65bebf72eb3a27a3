package containers

import (
	"bufio"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/tests/harness"
)

// A metric's line in docs/metrics.md: | `name` | type | …
var documentedLine = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (counter|gauge|histogram) \\|")

// others are the prefixes of what every Go process exposes.
var others = []string{"go_", "process_"}

// signals are what alarms hang on: they are there before anything goes wrong, for
// an alarm on what is not there is silent.
var signals = []string{
	"log_gap_total", "log_fork_total", "event_quarantined_total", "safe_mode", "replica_mismatch",
	"edge_state_age_seconds", "edge_hash_mismatch_total", "append_outcome_unknown_total",
	"canary_publish_seconds", "stream_bytes_ratio", "snapshot_age_seconds",
	"ingest_acked_total", "ingest_inserted_total", "ingest_dead_lettered_total", "ingest_lag_events", "ingest_lag_seconds", "event_dup_rows",
	"ws_refused_total", "ws_slow_closed_total",
}

// checkMetrics compares docs/metrics.md with what the services expose once they
// have worked. A metric with labels is exposed from its first count on, so one
// that is documented only has to stand in the source.
func (s *site) checkMetrics() {
	t := s.t
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, m := range documentedLine.FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = m[2]
	}
	exposed := map[string]string{}
	s.eventually("every signal is exposed", func() error { // some once the warehouse was asked
		for service, ops := range s.ops {
			for name, kind := range scrape(t, ops) {
				exposed[name] = kind
				if documented[name] != kind {
					return fmt.Errorf("%s exposes the %s %s; docs/metrics.md says %q", service, kind, name, documented[name])
				}
			}
		}
		for _, name := range signals {
			if exposed[name] == "" {
				return fmt.Errorf("no service exposes %s", name)
			}
		}
		return nil
	})
	named := quoted(t)
	for name := range documented {
		if exposed[name] == "" && !slices.ContainsFunc(named, func(n string) bool { return n == strings.TrimPrefix(name, "ingest_") }) {
			t.Errorf("docs/metrics.md describes %s, which no service exposes", name)
		}
	}
}

// scrape returns the metrics of a service, and of which type each is.
func scrape(t *testing.T, ops string) map[string]string {
	t.Helper()
	res, err := http.Get("http://" + ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out := map[string]string{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 4 && fields[1] == "TYPE" && !slices.ContainsFunc(others, func(p string) bool { return strings.HasPrefix(fields[2], p) }) {
			out[fields[2]] = fields[3]
		}
	}
	if len(out) == 0 {
		t.Errorf("%s exposes nothing", ops)
	}
	return out
}

var nameText = regexp.MustCompile(`"([a-z]+(?:_[a-z]+)+)"`)

// quoted returns the texts in the sources of the services that could be names.
func quoted(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{"internal", "services"} {
		root := os.DirFS(filepath.Join(harness.Root(t), dir))
		err := fs.WalkDir(root, ".", func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := fs.ReadFile(root, path)
			for _, m := range nameText.FindAllSubmatch(text, -1) {
				out = append(out, string(m[1]))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}
