package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/tests/harness"
)

// lift is one printed line of the experiment: metric, group, …, and whether the
// interval covers the true effect.
var lift = regexp.MustCompile(`(?m)^  (purchase_rate|revenue_per_visitor) +(\w+) .* (yes|no)$`)

func TestTheDemoPrintsLiftThatCoversTheTruthAndComesBackAsItWas(t *testing.T) {
	t.Parallel()
	p := harness.Start(t, harness.Options{Args: []string{"--demo"}})
	before := demoFacts(t, p)

	const groups, metrics = 3, 2
	var lines [][]string
	harness.Within(t, 3*time.Minute, func() error {
		lines = lift.FindAllStringSubmatch(p.Output(), -1)
		if len(lines) < groups*metrics {
			return fmt.Errorf("%d lines of lift are printed; want %d", len(lines), groups*metrics)
		}
		return nil
	})
	for _, line := range lines {
		if line[3] != "yes" {
			t.Errorf("metric %s, group %s: the interval does not cover the true effect:\n%s", line[1], line[2], strings.TrimSpace(line[0]))
		}
	}

	_, printed, _ := strings.Cut(p.Output(), "Try this in another terminal:\n")
	printed, _, _ = strings.Cut(printed, "The demo's visitors")
	said, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", printed).CombinedOutput()
	for _, want := range []string{`"enabled":false`, `"name":"Everyone"`, `"colour":"green"`, "  sample ratio: ok", `"srm":{`} {
		if err != nil || !strings.Contains(string(said), want) {
			t.Errorf("the lines to try say %v and not %s:\n%s", err, want, said)
		}
	}

	read := func() (documents []string) {
		for _, path := range []string{
			before.path("gates", before.Gate), before.path("configs", before.Config), before.path("experiments", experiment),
		} {
			documents = append(documents, string(p.Must(http.StatusOK, nil, before.Keys.Console, "GET", path, nil).Body))
		}
		return documents
	}
	setGate(before, p, 75) // what people changed stays changed
	documents := read()
	p.Stop()
	p.Restart()
	harness.Within(t, time.Minute, func() error {
		if !strings.Contains(p.Output(), before.Keys.Client) {
			return fmt.Errorf("the second start has not printed the keys yet")
		}
		return nil
	})
	if diff := cmp.Diff(before, demoFacts(t, p)); diff != "" {
		t.Errorf("demo.json differs after a second start (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(documents, read()); diff != "" {
		t.Errorf("definitions differ after a second start (-first +second):\n%s", diff)
	}
}
