package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// workspace lays out three modules of which app imports lib, and lib base.
func workspace(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.work":         "go 1.26\n\nuse (\n\t./app\n\t./lib\n\t./base\n)\n",
		"app/go.mod":      "module example.com/app\n\ngo 1.26\n",
		"app/main.go":     "package main\n\nimport _ \"example.com/lib/deep\"\n",
		"lib/go.mod":      "module example.com/lib\n\ngo 1.26\n",
		"lib/deep/lib.go": "package deep\n\nimport _ \"example.com/base\"\n",
		"base/go.mod":     "module example.com/base\n\ngo 1.26\n\nrequire example.com/app v0.0.0\n\nreplace example.com/app => ../app\n",
		"base/base.go":    "package base\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSiblingsAreRequiredDirectlyAndReplacedThroughout(t *testing.T) {
	root := workspace(t)
	changed, err := run(root, false)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"app", "base", "lib"}; !slices.Equal(changed, want) {
		t.Errorf("run() changed %q; want %q", changed, want)
	}
	raw, err := os.ReadFile(filepath.Join(root, "app", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	app := string(raw)
	for _, want := range []string{"require example.com/lib v0.0.0", "example.com/lib => ../lib", "example.com/base => ../base"} {
		if !strings.Contains(app, want) {
			t.Errorf("app/go.mod lacks %q:\n%s", want, app)
		}
	}
	raw, err = os.ReadFile(filepath.Join(root, "base", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "example.com/app") {
		t.Errorf("base/go.mod still names app, which it does not import:\n%s", raw)
	}
}

func TestCheckReportsWhatIsOutOfStepAndWritesNothing(t *testing.T) {
	root := workspace(t)
	before, err := os.ReadFile(filepath.Join(root, "app", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := run(root, true)
	if err != nil || len(changed) != 3 {
		t.Errorf("run(check) = %q, %v; want all three modules", changed, err)
	}
	after, err := os.ReadFile(filepath.Join(root, "app", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Errorf("run(check) wrote app/go.mod:\n%s", after)
	}
	if _, err := run(root, false); err != nil {
		t.Fatal(err)
	}
	if changed, err := run(root, true); err != nil || len(changed) != 0 {
		t.Errorf("run(check) after run = %q, %v; want nothing", changed, err)
	}
}
