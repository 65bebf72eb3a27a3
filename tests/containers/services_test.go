package containers

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-flags/sluice/tests/harness"
)

// The three services are processes of their own, as in production.
func TestThreeProcessesAreOnePlatform(t *testing.T) {
	s := newSite(t, asProcess)
	s.journey()
	s.checkMetrics()
	s.checkPermissions()
}

// asProcess runs the binary that goes into the image.
func asProcess(t *testing.T, s *site, service string, env map[string]string) func() string {
	t.Helper()
	if _, ok := env["SLUICE_DATA"]; ok {
		env["SLUICE_DATA"] = t.TempDir()
	}
	cmd := exec.Command(binary(t, service))
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+strings.Replace(value, "@"+secretsDir, "@"+s.secrets+"/", 1))
	}
	log := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s did not stop in order: %v; its log:\n%s", service, err, log)
		}
	})
	return log.String
}

// lockedBuffer collects what a process prints while others read it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// What ingest serves is in its source as texts; the gateway must send each there.
func TestTheGatewaySendsEachPathToWhoServesIt(t *testing.T) {
	rules := caddyfile(t)
	served := map[string]string{
		"/api/v1/projects": "control", "/v1/live": "edge", "/": "edge", "/openapi/edge.yaml": "edge", "/openapi/ingest.yaml": "ingest",
	}
	for _, door := range []string{"statsig", "native"} {
		for _, p := range paths(t, "services/ingest/internal/"+door) {
			served[p] = "ingest"
		}
	}
	for _, p := range paths(t, "services/edge/internal/statsig") {
		served[p] = "edge"
	}
	for p, want := range served {
		if got := choose(rules, p); got != want {
			t.Errorf("the gateway sends %s to %q; want %s", p, got, want)
		}
	}
}

// paths returns the texts in a folder's Go files that begin with /v1/ or /v2/,
// perhaps after a method.
func paths(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(harness.Root(t), dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if _, after, found := strings.Cut(text, " "); found {
				text = after
			}
			if err == nil && (strings.HasPrefix(text, "/v1/") || strings.HasPrefix(text, "/v2/")) {
				out = append(out, text)
			}
			return true
		})
	}
	if len(out) == 0 {
		t.Fatalf("%s names no path", dir)
	}
	return out
}
