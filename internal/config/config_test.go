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

	"github.com/alecthomas/kong"

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

func TestAVersionInTheEnvironmentIsNotTheFlag(t *testing.T) {
	for _, value := range []string{"0", "v1.2", "true"} {
		t.Setenv("SLUICE_VERSION", value)
		var s settings
		var ended []int
		var out bytes.Buffer
		exit := func(code int) { ended = append(ended, code) }
		if _, err := config.Parse("test", "A test.", &s, nil, kong.Exit(exit), kong.Writers(&out, &out)); err != nil || len(ended) > 0 {
			t.Errorf("Parse() with SLUICE_VERSION=%s = %v, printed %q and ended with %d; want it to go on", value, err, out.String(), ended)
		}
		if _, _ = config.Parse("test", "A test.", &s, []string{"--version"}, kong.Exit(exit), kong.Writers(&out, &out)); len(ended) == 0 || out.Len() == 0 {
			t.Errorf("Parse(--version) printed %q and ended with %d; want the build, and 0", out.String(), ended)
		}
	}
}

func TestHelpNamesDefaultsAndVariables(t *testing.T) {
	var s struct {
		config.Common
		Run struct {
			Listen string `help:"Where to listen." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
			Key    string `help:"The key." env:"OTHER,SECOND"`
		} `cmd:""`
	}
	var out bytes.Buffer
	_, _ = config.Parse("test", "A test.", &s, []string{"run", "--help"}, kong.Exit(func(int) {}), kong.Writers(&out, &out))
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"Where to listen (default 127.0.0.1:8080, $SLUICE_LISTEN).", "The key ($OTHER, $SECOND).",
		"(default 20s, $SLUICE_DRAIN).", "Print which build this is, and exit.",
	} {
		if got := strings.Count(text, want); got != 1 {
			t.Errorf("help says %q %d times; want once in\n%s", want, got, out.String())
		}
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
