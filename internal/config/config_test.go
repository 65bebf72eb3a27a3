package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/config"
)

type settings struct {
	config.Common
	Listen string        `help:"Where to listen." default:"127.0.0.1:8080"`
	Key    config.Secret `help:"The key."`
}

func parse(t *testing.T, args ...string) settings {
	t.Helper()
	var s settings
	if _, err := config.Parse("test", "A test.", &s, args); err != nil {
		t.Fatalf("Parse(%q) = %v, want nil", args, err)
	}
	return s
}

func TestFlagsWinOverTheEnvironmentWhichWinsOverDefaults(t *testing.T) {
	if got := parse(t).Listen; got != "127.0.0.1:8080" {
		t.Errorf("without anything Listen = %q, want the default", got)
	}
	t.Setenv("SLUICE_LISTEN", "env:1")
	if got := parse(t).Listen; got != "env:1" {
		t.Errorf("with a variable Listen = %q, want env:1", got)
	}
	if got := parse(t, "--listen", "flag:1").Listen; got != "flag:1" {
		t.Errorf("with a flag Listen = %q, want flag:1", got)
	}
}

func TestCommonSettingsParse(t *testing.T) {
	s := parse(t, "--log-level=debug", "--log-format=json", "--drain=3s")
	if s.LogLevel != slog.LevelDebug || s.LogFormat != "json" || s.Drain != 3*time.Second {
		t.Errorf("Parse() = %+v, want debug, json, 3s", s.Common)
	}
	if _, err := config.Parse("test", "", &settings{}, []string{"--log-format=xml"}); err == nil {
		t.Error("Parse(--log-format=xml) = nil, want an error")
	}
}

func TestASecretNeverPrints(t *testing.T) {
	s := parse(t, "--key", "hunter2")
	if got := s.Key.Reveal(); got != "hunter2" {
		t.Fatalf("Reveal() = %q, want hunter2", got)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("settings", "key", s.Key, "all", s)
	asJSON, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s", s, s, s.Key), string(asJSON), log.String()} {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, "[redacted]") {
			t.Errorf("a secret shows in %s", text)
		}
	}
}

func TestASecretCanComeFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := parse(t, "--key", "@"+path).Key.Reveal(); got != "from a file" {
		t.Errorf("Reveal() = %q, want the file's content", got)
	}
	if _, err := config.Parse("test", "", &settings{}, []string{"--key", "@" + path + ".missing"}); err == nil {
		t.Error("Parse with a missing file = nil, want an error")
	}
}
