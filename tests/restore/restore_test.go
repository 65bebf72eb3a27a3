// Package restore carries out the runbook of docs/operations.md for a backup
// that is older than what was acknowledged since.
package restore

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) {
	embed.RunChildIfAsked()
	harness.Main(m)
}

func TestAnOldBackupIsNoticedAndThenAcceptedByWhoPutsTheRecordsAway(t *testing.T) {
	p := harness.Start(t, harness.Options{})
	shop := p.NewProject("shop")
	shop.Create("gates", gate("kept"))
	p.Stop()

	store, backup := filepath.Join(p.Data, "nats"), t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	p.Restart()
	shop.Create("gates", gate("lost"))
	check(t, shop, "lost", true)
	p.Stop()

	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(store, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	p.Restart()
	got, err := shop.Do(shop.Console, "POST", shop.Path("gates"), gate("refused"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != http.StatusServiceUnavailable || !strings.Contains(string(got.Body), "log_diverged") {
		t.Errorf("a change of a log that is shorter than what is on record answered %d %s; want 503 log_diverged", got.Status, got.Body)
	}
	check(t, shop, "lost", true) // the edge has seen it, and stays there
	p.Stop()

	for _, pattern := range []string{"heads/shop.head*", "edge/shop.snapshot*"} {
		files, err := filepath.Glob(filepath.Join(p.Data, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s is not there (%v)", pattern, err)
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.Restart()
	shop.Create("gates", gate("new"))
	check(t, shop, "kept", true)
	check(t, shop, "new", true)
	check(t, shop, "lost", false)
}

// gate is one that is on for everybody.
func gate(name string) harness.Doc {
	return harness.Doc{"name": name, "rules": []harness.Doc{{"id": "everyone", "name": "Everyone", "passPercentage": 100, "conditions": harness.Everyone}}}
}

// check asks for a gate, as any client may: one that is not there is off.
func check(t *testing.T, shop *harness.Project, gate string, want bool) {
	t.Helper()
	var got struct{ Enabled bool }
	shop.Must(http.StatusOK, &got, shop.Server, "GET", "/features/gate/"+gate+"?user_id=visitor", nil)
	if got.Enabled != want {
		t.Errorf("gate %s is %t; want %t", gate, got.Enabled, want)
	}
}
