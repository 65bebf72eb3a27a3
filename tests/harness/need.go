package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse/embed"
)

// NeedEngine skips the test where the embedded engine is not installed, unless
// REQUIRE_ENGINE=1 turns that into a failure.
func NeedEngine(t testing.TB) {
	t.Helper()
	if _, err := embed.FindLibrary(); err != nil {
		need(t, "REQUIRE_ENGINE", err.Error())
	}
}

// NeedNode skips the test where Node.js or the SDKs from npm are missing, unless
// REQUIRE_NODE=1 turns that into a failure. It returns the repository's root.
func NeedNode(t testing.TB) string {
	t.Helper()
	root := Root(t)
	if _, err := exec.LookPath("node"); err != nil {
		need(t, "REQUIRE_NODE", "node is not installed")
	}
	if _, err := os.Stat(filepath.Join(root, "node_modules", "statsig-node")); err != nil {
		need(t, "REQUIRE_NODE", "the SDKs from npm are not installed: run `make setup`")
	}
	return root
}

// NeedPython skips the test where Python or the SDKs from PyPI are missing,
// unless REQUIRE_PYTHON=1 turns that into a failure. It returns the repository's
// root and the interpreter that has the SDKs.
func NeedPython(t testing.TB) (root, python string) {
	t.Helper()
	root = Root(t)
	python = filepath.Join(root, ".venv", "bin", "python")
	if _, err := os.Stat(filepath.Join(root, ".venv", ".setup")); err != nil {
		need(t, "REQUIRE_PYTHON", "the SDKs from PyPI are not installed: install Python 3.10 or newer with venv and run `make setup`")
	}
	return root, python
}

// NeedBrowser skips the test where no Chromium is installed, unless
// REQUIRE_BROWSER=1 turns that into a failure. It returns the program's path.
func NeedBrowser(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	need(t, "REQUIRE_BROWSER", "no Chromium is installed: run `make setup` as root on Debian, or install one")
	return ""
}

func need(t testing.TB, variable, why string) {
	t.Helper()
	if os.Getenv(variable) == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Root returns the repository's root folder.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("this binary does not know its source")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}
