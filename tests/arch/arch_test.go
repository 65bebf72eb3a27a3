// Package arch holds the rules that the compiler cannot: who may import whom,
// which dependency may be linked where, and that every package says what it
// promises. docs/architecture.md explains why.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const root = "github.com/sluice-flags/sluice/"

// mayImport says, for each package of ours (a pattern without the root), which
// other packages of ours it may import. The first pattern that matches wins.
// Every package may import those below its own pattern's folder. A pattern
// that ends in /... stands for the folder and all below it.
var mayImport = []struct {
	pkg     string
	allowed []string
}{
	{"schemas/...", nil},
	{"pkg/eval/...", nil},
	{"pkg/stats/...", nil},
	{"pkg/flags/...", []string{"pkg/eval/..."}},
	{"pkg/events/live", nil},
	{"pkg/events/...", []string{"pkg/flags/...", "pkg/eval/..."}},
	{"sdk/go/...", []string{"pkg/eval/...", "pkg/events/live"}},
	{"internal/...", []string{"schemas", "pkg/eval/...", "pkg/flags/...", "pkg/events/..."}},
	{"services/edge/...", []string{"internal/...", "pkg/eval/...", "pkg/flags/...", "pkg/events/..."}},
	{"services/ingest/...", []string{"internal/...", "pkg/eval/...", "pkg/flags/...", "pkg/events/..."}},
	{"services/control/...", []string{"internal/...", "schemas", "pkg/eval/...", "pkg/flags/...", "pkg/events/...", "pkg/stats/..."}},
	{"cmd/sluice/...", []string{"services/control", "services/edge", "services/ingest", "internal/..."}},
	{"tests/...", []string{"..."}},
}

// mayNotLink says which binaries stay free of which dependency, and why.
var mayNotLink = []struct {
	binary, dependency, why string
}{
	{"services/edge/cmd/edge", "github.com/ClickHouse/clickhouse-go/v2", "the edge answers from memory and never asks a database"},
	{"services/edge/cmd/edge", "github.com/nats-io/nats-server/v2/server", "in production the broker is a process of its own"},
	{"services/control/cmd/control", "github.com/nats-io/nats-server/v2/server", "in production the broker is a process of its own"},
	{"services/ingest/cmd/ingest", "github.com/nats-io/nats-server/v2/server", "in production the broker is a process of its own"},
	{"services/edge/cmd/edge", "github.com/ebitengine/purego", "the image is static; only cmd/sluice hosts the engine"},
	{"services/control/cmd/control", "github.com/ebitengine/purego", "the image is static; only cmd/sluice hosts the engine"},
	{"services/ingest/cmd/ingest", "github.com/ebitengine/purego", "the image is static; only cmd/sluice hosts the engine"},
}

// pkgDependencies are the only modules that code under pkg may need outside
// its tests: whoever embeds the evaluator drags in no broker and no database.
var pkgDependencies = []string{"gonum.org/v1/gonum"}

// A listed package, as `go list -json` prints it.
type listed struct {
	ImportPath  string
	Dir         string
	Doc         string
	Name        string
	GoFiles     []string
	Imports     []string
	TestImports []string
	Deps        []string
}

func (p listed) ours() string { return strings.TrimPrefix(p.ImportPath, root) }

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	for _, p := range packages(t) {
		rule := slices.IndexFunc(mayImport, func(r struct {
			pkg     string
			allowed []string
		}) bool {
			return matches(r.pkg, p.ours())
		})
		if rule < 0 {
			t.Errorf("package %s is in no row of the import table: give it one", p.ours())
			continue
		}
		for _, imported := range p.Imports {
			ours, found := strings.CutPrefix(imported, root)
			if !found || matches(mayImport[rule].pkg, ours) {
				continue
			}
			if !slices.ContainsFunc(mayImport[rule].allowed, func(pattern string) bool { return matches(pattern, ours) }) {
				t.Errorf("%s imports %s; the table allows %s only %q", p.ours(), ours, mayImport[rule].pkg, mayImport[rule].allowed)
			}
		}
	}
}

func TestBinariesLinkNothingUnwelcome(t *testing.T) {
	byPath := map[string]listed{}
	for _, p := range packages(t) {
		byPath[p.ours()] = p
	}
	for _, rule := range mayNotLink {
		p, ok := byPath[rule.binary]
		if !ok {
			t.Errorf("the table names %s, which does not exist", rule.binary)
			continue
		}
		if slices.Contains(p.Deps, rule.dependency) {
			t.Errorf("%s links %s: %s", rule.binary, rule.dependency, rule.why)
		}
	}
}

func TestPublicPackagesNeedOnlyTheStandardLibrary(t *testing.T) {
	for _, p := range packages(t) {
		// memlog's acceptance suite is itself test code.
		if !strings.HasPrefix(p.ours(), "pkg/") || strings.HasSuffix(p.ours(), "test") {
			continue
		}
		for _, imported := range p.Imports {
			first, _, _ := strings.Cut(imported, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(imported, root) {
				continue
			}
			if !slices.ContainsFunc(pkgDependencies, func(d string) bool { return imported == d || strings.HasPrefix(imported, d+"/") }) {
				t.Errorf("%s imports %s; pkg may need only %q beside the standard library", p.ours(), imported, pkgDependencies)
			}
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		want := "Package " + p.Name
		if p.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: package comment %q does not start with %q", p.ours(), p.Doc, want)
		}
	}
}

func TestSiblingsAreReplacedByRelativePath(t *testing.T) {
	top := repository(t)
	cmd := exec.Command("go", "-C", filepath.Join(top, "tools"), "run", "./modsync", "-check", "-root", top)
	cmd.Env = append(os.Environ(), "GOWORK=off") // tools stays out of the workspace
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("modsync -check: %v\n%s", err, out)
	}
}

func TestContainersAreNamedInTestsAlone(t *testing.T) {
	top := repository(t)
	files, err := filepath.Glob(filepath.Join(top, "*", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob(filepath.Join(top, "*", "*", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, deeper...) {
		if filepath.Dir(file) == filepath.Join(top, "tests") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("testcontainers")) {
			t.Errorf("%s names testcontainers; only tests/go.mod may", file)
		}
	}
}

// matches reports whether package p (without the root) is meant by pattern.
func matches(pattern, p string) bool {
	if pattern == "..." {
		return true
	}
	if folder, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == folder || strings.HasPrefix(p, folder+"/")
	}
	return p == pattern
}

// packages lists every package of the workspace once.
func packages(t *testing.T) []listed {
	t.Helper()
	found, err := list()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var list = sync.OnceValues(func() ([]listed, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,GoFiles,Imports,TestImports,Deps", "work")
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New("go list work: " + err.Error() + "\n" + stderr.String())
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

// repository returns the absolute path of the checkout.
func repository(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return top
}
