package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/tests/harness"
)

// A newcomer who copies the commands that `sluice run` prints has a flag; one who
// copies those of docs/first-steps.md, one after the other, flips a gate and comes
// to the result of an experiment.
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

	clone := filepath.Join(t.TempDir(), "it's here") // looks like one in which the platform was started
	p := harness.Start(t, harness.Options{Data: filepath.Join(clone, "data")})
	if err := os.MkdirAll(filepath.Join(clone, "bin"), 0o700); err != nil {
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

	const before, after = "a first flag, in another terminal:\n", "docs/first-steps.md"
	var printed string
	harness.Within(t, 10*time.Second, func() error {
		_, steps, _ := strings.Cut(p.Output(), before)
		var whole bool
		if printed, _, whole = strings.Cut(steps, after); !whole {
			return fmt.Errorf("the platform printed %q; want commands between %q and %q", p.Output(), before, after)
		}
		return nil
	})
	shell(printed)
	p.Must(http.StatusOK, nil, p.AdminKey(), "GET", "/api/v1/projects/hello/gates/new_checkout", nil)

	settings, result := blocks[0], blocks[len(blocks)-1]
	said := shell(blocks[:len(blocks)-1]...)
	if off, on, _ := strings.Cut(said, `"passPercentage":100`); !strings.Contains(off, `"value":false`) || !strings.Contains(on, `"value":true`) {
		t.Errorf("the gate does not go from false to true:\n%s", said)
	}
	if why := regexp.MustCompile(`gate new_checkout: true .*\n  yes  rule .*100 %\n    yes  public\n`); !why.MatchString(said) {
		t.Errorf("sluice eval does not say why the gate is true:\n%s", said)
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

	p.Stop()
	p.Restart()
	harness.Within(t, 10*time.Second, func() error {
		if !strings.Contains(p.Output(), "Sluice is running.") {
			return fmt.Errorf("the platform printed %q; want where it runs", p.Output())
		}
		return nil
	})
	p.Stop() // so that it has printed all
	if strings.Contains(p.Output(), before) {
		t.Errorf("with projects the platform printed %q; want no first steps", p.Output())
	}
}
