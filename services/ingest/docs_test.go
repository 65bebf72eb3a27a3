package ingest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What the documentation tells people to type works as it stands there, twice.
func TestTheCommandsOfTheDocumentationWork(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "gzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the documentation's commands need %s, which is not on this machine", tool)
		}
	}
	s := newProject(t).serve(none())
	ran := 0
	for _, path := range []string{"README.md", "../../docs/protocol.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "```sh\n")[1:] {
			command, _, _ := strings.Cut(block, "```")
			if !strings.Contains(command, "/v1/events") {
				continue
			}
			for range 2 {
				run := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", command)
				run.Env = append(os.Environ(), "SLUICE_INGEST="+s.url, "SLUICE_SDK_KEY="+s.server)
				out, err := run.CombinedOutput()
				var answer struct {
					Success  bool
					Rejected []any
				}
				if err != nil || json.Unmarshal(out, &answer) != nil || !answer.Success || len(answer.Rejected) > 0 {
					t.Errorf("%s:\n%s\n= %v, %s; want success", path, command, err, out)
				}
			}
			ran++
		}
	}
	if ran != 3 {
		t.Errorf("%d commands were found, want 3", ran)
	}
}
