// Package containers checks what is deployed: the image of the three services,
// the compose file, and the three as processes of their own, with the settings
// that the compose file gives them.
//
// What needs a Docker engine is skipped where none answers, unless
// REQUIRE_CONTAINERS=1 turns that into a failure.
package containers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/patternmatcher"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/services/control"
	"github.com/sluice-flags/sluice/services/edge"
	"github.com/sluice-flags/sluice/services/ingest"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) {
	embed.RunChildIfAsked()
	code := m.Run()
	if dir := built.Load(); dir != nil {
		_ = os.RemoveAll(*dir) // a temporary folder; the system clears it too
	}
	os.Exit(code)
}

// services are the programs that we make images of, each with new settings.
var services = map[string]func() any{
	"control": func() any { return new(control.Settings) },
	"edge":    func() any { return new(edge.Settings) },
	"ingest":  func() any { return new(ingest.Settings) },
}

const secretsDir = "/run/secrets/"

// composeDir is the folder of the compose file.
func composeDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(harness.Root(t), "deploy", "compose"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// compose reads the compose file as Docker Compose does: schema, anchors, paths.
func compose(t testing.TB) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(composeDir(t), "compose.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("reading compose.yaml: %v", err)
	}
	return project
}

// environment is what the compose file sets for a service.
func environment(t testing.TB, project *types.Project, service string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, value := range project.Services[service].Environment {
		if value == nil {
			t.Fatalf("%s: %s has no value", service, name)
		}
		out[name] = *value
	}
	return out
}

func TestComposeSetsOnlyWhatEachServiceKnows(t *testing.T) {
	project := compose(t)
	for name, settings := range services {
		t.Run(name, func(t *testing.T) {
			parser, err := config.New(name, "", settings())
			if err != nil {
				t.Fatal(err)
			}
			var known []string
			for _, flag := range parser.Model.Flags {
				known = append(known, flag.Envs...)
			}
			for variable, value := range environment(t, project, name) {
				if !slices.Contains(known, variable) {
					t.Errorf("compose.yaml sets %s, which is no setting of %s; it has %q", variable, name, known)
				}
				t.Setenv(variable, withSecret(t, project, name, value, t.TempDir()))
			}
			if _, err := parser.Parse(nil); err != nil {
				t.Errorf("%s does not take the settings of compose.yaml: %v", name, err)
			}
		})
	}
}

// withSecret replaces the name of a mounted secret by that of a file in dir.
func withSecret(t testing.TB, project *types.Project, service, value, dir string) string {
	t.Helper()
	secret, ok := strings.CutPrefix(value, "@"+secretsDir)
	if !ok {
		return value
	}
	mounted := func(s types.ServiceSecretConfig) bool {
		return s.Source == secret && (s.Target == "" || s.Target == secretsDir+secret)
	}
	if !slices.ContainsFunc(project.Services[service].Secrets, mounted) {
		t.Errorf("%s reads the secret %s, which compose.yaml does not give it", service, secret)
	}
	file := filepath.Join(dir, secret)
	if _, err := os.Stat(file); err == nil {
		return "@" + file
	}
	if err := os.WriteFile(file, []byte("a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "@" + file
}

func TestNoSecretStandsInTheComposeFile(t *testing.T) {
	project := compose(t)
	for name := range services {
		for variable, value := range environment(t, project, name) {
			secret := strings.HasSuffix(variable, "_PASSWORD") || strings.HasSuffix(variable, "_KEY")
			if secret && !strings.HasPrefix(value, "@"+secretsDir) {
				t.Errorf("%s: %s is %q; want a file under %s", name, variable, value, secretsDir)
			}
		}
	}
}

func TestContainersOfServicesMayDoNoMoreThanTheyNeed(t *testing.T) {
	project := compose(t)
	for name := range services {
		s := project.Services[name]
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
			t.Errorf("%s: read_only %t, cap_drop %q, security_opt %q, privileged %t; want a read-only root without capabilities",
				name, s.ReadOnly, s.CapDrop, s.SecurityOpt, s.Privileged)
		}
		if len(s.Ports) > 0 {
			t.Errorf("%s publishes %v; want the gateway alone to face anybody", name, s.Ports)
		}
		data, hasData := environment(t, project, name)["SLUICE_DATA"]
		for _, v := range s.Volumes {
			if v.Target != data {
				t.Errorf("%s mounts %s, where it keeps nothing", name, v.Target)
			}
		}
		if hasData && len(s.Volumes) != 1 {
			t.Errorf("%s keeps data in %s on %d volumes; want one", name, data, len(s.Volumes))
		}
	}
	if !project.Networks["back"].Internal {
		t.Error("the network of NATS and ClickHouse is not internal")
	}
	for _, name := range []string{"nats", "clickhouse"} {
		s := project.Services[name]
		if _, ok := s.Networks["back"]; !ok || len(s.Networks) != 1 || len(s.Ports) > 0 {
			t.Errorf("%s is on %v and publishes %v; want the network back and nothing published", name, s.Networks, s.Ports)
		}
	}
}

func TestContainersGetMoreTimeToStopThanWorkInProgress(t *testing.T) {
	project := compose(t)
	var common config.Common
	if _, err := config.Parse("service", "", &common, nil); err != nil {
		t.Fatal(err)
	}
	for name := range services {
		grace := project.Services[name].StopGracePeriod
		if grace == nil || time.Duration(*grace) <= common.Drain {
			t.Errorf("%s: stop_grace_period is %v; want more than --drain, %v", name, grace, common.Drain)
		}
	}
}

func TestTheEdgeBelievesTheGatewayAboutCallers(t *testing.T) {
	project := compose(t)
	front := project.Networks["front"].Ipam.Config
	if len(front) != 1 {
		t.Fatalf("the network front has %d subnets; want one", len(front))
	}
	if got := environment(t, project, "edge")["SLUICE_PROXIES"]; got != front[0].Subnet {
		t.Errorf("SLUICE_PROXIES is %q; want the gateway's network, %s", got, front[0].Subnet)
	}
}

func TestFilesThatComposeNamesExist(t *testing.T) {
	project := compose(t)
	root := harness.Root(t)
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if info, err := os.Stat(v.Source); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s mounts %s, which is no file: %v", name, v.Source, err)
			}
		}
		if s.Build == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		service := s.Build.Args["SERVICE"]
		if service == nil || *service != name {
			t.Errorf("%s is built with SERVICE=%v", name, service)
			continue
		}
		if _, err := os.Stat(filepath.Join(root, "services", name, "cmd", name, "main.go")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name := range services {
		if project.Services[name].Build == nil {
			t.Errorf("compose.yaml builds no %s", name)
		}
	}
}

func TestSecretsStayOutOfImagesAndRepository(t *testing.T) {
	project := compose(t)
	root, err := filepath.Abs(harness.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".dockerignore", ".gitignore"} {
		ignored := ignore(t, name)
		for _, secret := range project.Secrets {
			path, err := filepath.Rel(root, secret.File)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := ignored.MatchesOrParentMatches(path); err != nil || !out {
				t.Errorf("%s lets %s in (%v)", name, path, err)
			}
		}
	}
}

// ignore reads a file of patterns at the root of the repository.
func ignore(t testing.TB, name string) *patternmatcher.PatternMatcher {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for line := range strings.Lines(string(text)) {
		if line = strings.Trim(line, " \n"); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, strings.TrimPrefix(line, "/"))
		}
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return matcher
}

func TestNATSIsSetUpToKeepWhatItAcknowledges(t *testing.T) {
	options, err := server.ProcessConfigFile(filepath.Join(composeDir(t), "nats.conf"))
	if err != nil {
		t.Fatalf("the server does not take nats.conf: %v", err)
	}
	if !options.JetStream || !options.SyncAlways {
		t.Errorf("JetStream %t, SyncAlways %t; want both", options.JetStream, options.SyncAlways)
	}
	var onVolume bool
	for _, v := range compose(t).Services["nats"].Volumes {
		onVolume = onVolume || v.Type == types.VolumeTypeVolume && v.Target == options.StoreDir
	}
	if !onVolume {
		t.Errorf("store_dir is %s, which is no volume of the container", options.StoreDir)
	}
	var reserved int64
	for _, stream := range []int64{
		bus.HeadsConfig(bus.Limits{}).MaxBytes, bus.FactsConfig(bus.Limits{}).MaxBytes, bus.DeadFactsConfig(bus.Limits{}).MaxBytes,
		bus.PlansConfig(bus.Limits{}).MaxBytes, bus.FactKeysConfig(bus.Limits{}).MaxBytes,
		2 * bus.FlagsConfig("shop", "", bus.Limits{}).MaxBytes, // the organisation's and a project's
	} {
		reserved += stream
	}
	if options.JetStreamMaxStore < 2*reserved {
		t.Errorf("max_file_store is %d; want room for more than one project, of which the first leaves %d", options.JetStreamMaxStore, options.JetStreamMaxStore-reserved)
	}
	memory := bus.LoadersConfig(bus.Limits{}).MaxBytes + bus.ClaimsConfig(bus.Limits{}).MaxBytes
	if options.JetStreamMaxMemory < 2*memory {
		t.Errorf("max_memory_store is %d; want room to raise what streams in memory reserve, %d", options.JetStreamMaxMemory, memory)
	}
	if limit := bus.FactsConfig(bus.Limits{}).MaxMsgSize; int64(options.MaxPayload) < int64(limit) {
		t.Errorf("max_payload is %d; want what a message of facts may have, %d", options.MaxPayload, limit)
	}
}
