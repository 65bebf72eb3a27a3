package containers

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-flags/sluice/tests/harness"
)

// stages returns the two of the Dockerfile: the one that builds, and the image.
func stages(t testing.TB) (builder, final []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "deploy", "docker", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.ReplaceAll(string(text), "\\\n", ""))
	var all [][]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "FROM "):
			all = append(all, []string{line})
		case len(all) == 0:
			t.Fatalf("the Dockerfile begins with %q; want FROM", line)
		default:
			all[len(all)-1] = append(all[len(all)-1], line)
		}
	}
	if len(all) != 2 {
		t.Fatalf("the Dockerfile has %d stages; want one that builds and one that stays", len(all))
	}
	return all[0], all[1]
}

func TestTheImageHoldsOneBinaryAndRunsAsNobody(t *testing.T) {
	_, final := stages(t)
	if final[0] != "FROM scratch" {
		t.Errorf("the image begins with %q; want FROM scratch, which has no shell", final[0])
	}
	for _, want := range []string{"USER 65532:65532", "STOPSIGNAL SIGTERM", `ENTRYPOINT ["/service"]`} {
		if !slices.Contains(final, want) {
			t.Errorf("the image has no %s:\n%s", want, strings.Join(final, "\n"))
		}
	}
	for _, line := range final {
		if verb, _, _ := strings.Cut(line, " "); verb == "COPY" && !strings.Contains(line, "--from=build ") {
			t.Errorf("%s does not take what was built", line)
		}
	}
}

// binaries compiles the services as the Dockerfile does, once per test process.
var (
	binaries = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "sluice-services-")
		if err != nil {
			return "", err
		}
		built.Store(&dir)
		for name := range services {
			cmd := exec.Command("go", "build", "-C", "../../services/"+name, "-trimpath", "-ldflags=-s", "-o", filepath.Join(dir, name), "./cmd/"+name)
			cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
			}
		}
		return dir, nil
	})
	built atomic.Pointer[string]
)

func binary(t testing.TB, service string) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, service)
}

func TestBinariesAreBuiltHereAsInTheImage(t *testing.T) {
	builder, _ := stages(t)
	want := "RUN GOWORK=off CGO_ENABLED=0 go build -C services/${SERVICE} -trimpath -ldflags=-s -o /out/service ./cmd/${SERVICE}"
	if !slices.ContainsFunc(builder, func(line string) bool { return strings.HasPrefix(line, want) }) {
		t.Errorf("the Dockerfile builds otherwise than these tests:\n%s", strings.Join(builder, "\n"))
	}
}

func TestBinariesNeedNothingOfTheImage(t *testing.T) {
	for name := range services {
		file, err := elf.Open(binary(t, name))
		if formatErr := (*elf.FormatError)(nil); errors.As(err, &formatErr) {
			t.Skipf("this system's binaries are not ELF (%v), so they go into no image", err)
		} else if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for _, p := range file.Progs {
			if p.Type == elf.PT_INTERP {
				loader, _ := io.ReadAll(p.Open()) // for the message alone
				t.Errorf("%s wants the loader %s; an image from scratch has none", name, strings.Trim(string(loader), "\x00"))
			}
		}
		if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
			t.Errorf("%s wants the libraries %q (%v); want none", name, libraries, err)
		}
	}
}

// Every file that a binary is made of is sent to Docker.
func TestTheBuildContextHoldsWhatTheServicesAreMadeOf(t *testing.T) {
	root, err := filepath.Abs(harness.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	ignored := ignore(t, ".dockerignore")
	for name := range services {
		cmd := exec.Command("go", "list", "-C", filepath.Join(root, "services", name), "-deps", "-json=Dir,GoFiles,EmbedFiles,Module", "./cmd/"+name)
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("listing what %s is made of: %v", name, err)
		}
		files := map[string]bool{}
		for packages := json.NewDecoder(strings.NewReader(string(out))); packages.More(); {
			var p struct {
				Dir                 string
				GoFiles, EmbedFiles []string
				Module              *struct{ Dir, GoMod string }
			}
			if err := packages.Decode(&p); err != nil {
				t.Fatal(err)
			}
			if p.Module == nil || !strings.HasPrefix(p.Dir, root+string(filepath.Separator)) {
				continue // the standard library's, or another's
			}
			for _, file := range append(p.GoFiles, p.EmbedFiles...) {
				// A pattern such as * embeds a test file where there is one.
				if !strings.HasSuffix(file, "_test.go") {
					files[filepath.Join(p.Dir, file)] = true
				}
			}
			files[p.Module.GoMod] = true
		}
		if len(files) < 20 {
			t.Fatalf("%s is made of %d files of ours; the question was wrong", name, len(files))
		}
		for file := range files {
			path, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := ignored.MatchesOrParentMatches(path); err != nil || out {
				t.Errorf(".dockerignore leaves out %s, which %s is made of (%v)", path, name, err)
			}
		}
	}
}
