package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/tests/harness"
)

// A newcomer who copies the commands of docs/first-steps.md, one after the other,
// flips a gate and comes to the result of an experiment.
func TestTheFirstStepsWorkAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the page's commands need %s, which is not on this machine", tool)
		}
	}
	page, err := os.ReadFile("../../docs/first-steps.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, block := range strings.Split(string(page), "```sh\n")[1:] {
		commands, _, _ := strings.Cut(block, "```")
		blocks = append(blocks, commands)
	}

	clone := t.TempDir() // looks like one in which the platform was started
	p := harness.Start(t, harness.Options{Data: filepath.Join(clone, "data")})
	if err := os.Mkdir(filepath.Join(clone, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(harness.Binary(t), filepath.Join(clone, "bin", "sluice")); err != nil {
		t.Fatal(err)
	}
	shell := func(blocks ...string) string {
		commands := strings.ReplaceAll(strings.Join(blocks, ""), "http://127.0.0.1:8080", p.HTTP)
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
		cmd.Dir = clone
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n= %v, %s", commands, err, out)
		}
		return string(out)
	}

	settings, result := blocks[0], blocks[len(blocks)-1]
	said := shell(blocks[:len(blocks)-1]...)
	if off, on, _ := strings.Cut(said, `"passPercentage":100`); !strings.Contains(off, `"value":false`) || !strings.Contains(on, `"value":true`) {
		t.Errorf("the gate does not go from false to true:\n%s", said)
	}
	counts, significant := regexp.MustCompile(`(\d+) units`), regexp.MustCompile(`free .* p \S+\*`)
	harness.Within(t, time.Minute, func() error { // facts are loaded within seconds
		said, units := shell(settings, result), 0
		for _, count := range counts.FindAllStringSubmatch(said, -1) {
			var n int
			_, _ = fmt.Sscan(count[1], &n) // digits
			units += n
		}
		if !strings.Contains(string(page), fmt.Sprintf("they are %d,", units)) || !significant.MatchString(said) {
			return fmt.Errorf("the page says how many users there are and that free shipping sells; the result is\n%s", said)
		}
		return nil
	})
}
