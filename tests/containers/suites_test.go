package containers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/tests/harness"
)

// Suites that elsewhere run on embedded servers, and what they have to ask of
// the ones in containers.
var suites = []struct {
	pkg      string
	usesNATS bool
}{
	{pkg: "./internal/warehouse"},
	{pkg: "./services/ingest/internal/loader", usesNATS: true},
}

// The schema is migrated, and facts are loaded, on a ClickHouse and a NATS that
// are nobody's children, as in production.
func TestMigrationsAndLoaderPassOnServersInContainers(t *testing.T) {
	needDocker(t)
	s := startServers(t)
	for _, suite := range suites {
		t.Run(strings.TrimPrefix(suite.pkg, "./"), func(t *testing.T) {
			stored, asked := s.watchRows(t), s.requests(t)
			ran := runSuite(t, suite.pkg, "SLUICE_TEST_CLICKHOUSE="+s.clickhouse, "SLUICE_TEST_NATS="+s.nats)
			rows, requests := stored(), s.requests(t)-asked-1 // the question itself
			t.Logf("%s: %v; ClickHouse had %d rows of it, JetStream answered it %d requests", suite.pkg, ran, rows, requests)
			if rows == 0 {
				t.Error("the suite stored nothing in the container's ClickHouse")
			}
			if suite.usesNATS && requests == 0 {
				t.Error("the suite asked nothing of the container's NATS")
			}
			if left := s.testDatabases(t); len(left) > 0 {
				t.Errorf("the suite left the databases %q behind", left)
			}
		})
	}
}

// A result is how the tests of a suite ended, each without those below it.
type result struct {
	passed, failed, skipped []string
	onEngine                []string // passed, but not on the server
}

func (r result) String() string {
	return fmt.Sprintf("%d passed (%d of them on an engine of their own: %s), %d failed, %d skipped",
		len(r.passed), len(r.onEngine), cmp.Or(strings.Join(r.onEngine, ", "), "none"), len(r.failed), len(r.skipped))
}

// runSuite runs the tests of a package with variables, as somebody at a terminal
// does, and fails t if they fail or if there are none.
func runSuite(t *testing.T, pkg string, variables ...string) (r result) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "-count=1", "-timeout=10m", pkg)
	cmd.Dir = harness.Root(t)
	cmd.Env = append(os.Environ(), variables...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	failure := cmd.Run()

	said := map[string]string{} // by each test; by the package under no name
	for lines := json.NewDecoder(&stdout); ; {
		var line struct{ Action, Test, Output string }
		if err := lines.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("go test -json %s: %v\n%s", pkg, err, &stderr)
		}
		name, _, below := strings.Cut(line.Test, "/")
		said[name] += line.Output
		if name == "" || below {
			continue
		}
		switch line.Action {
		case "pass":
			r.passed = append(r.passed, name)
			if strings.Contains(said[name], warehousetest.StaysOnEngine) {
				r.onEngine = append(r.onEngine, name)
			}
		case "fail":
			r.failed = append(r.failed, name)
		case "skip":
			r.skipped = append(r.skipped, name)
			t.Logf("skipped: %s", said[name])
		}
	}
	if failure != nil {
		for _, name := range slices.Concat([]string{""}, r.failed) {
			t.Log(said[name])
		}
		t.Errorf("go test %s: %v\n%s", pkg, failure, &stderr)
	}
	if len(r.passed) == len(r.onEngine) {
		t.Errorf("go test %s: no test passed on the servers: %v", pkg, r)
	}
	return r
}
