package containers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	clickhousemodule "github.com/testcontainers/testcontainers-go/modules/clickhouse"
	natsmodule "github.com/testcontainers/testcontainers-go/modules/nats"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/tests/harness"
)

// Variables that name images other than those of the compose file. They are
// pulled if need be.
const (
	clickhouseImageVariable = "SLUICE_TEST_CLICKHOUSE_IMAGE"
	natsImageVariable       = "SLUICE_TEST_NATS_IMAGE"
)

// servers are a ClickHouse and a NATS in containers, and connections to ask them
// what they have done.
type servers struct {
	clickhouse, nats string // addresses, as URLs
	warehouse        *warehouse.DB
	jetstream        jetstream.JetStream
}

// startServers starts both; they end with the test.
func startServers(t *testing.T) *servers {
	t.Helper()
	// What ends containers here is the test's end. The container that would end
	// them after a kill is one more image to pull.
	t.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	// A machine that was itself made of an image is taken for a container whose
	// Docker engine is outside, unless the two are called the same.
	const hostVariable = "TESTCONTAINERS_HOST_OVERRIDE"
	if name, err := os.Hostname(); err == nil && os.Getenv(hostVariable) == "" && name == docker(t, "info", "--format", "{{.Name}}") {
		t.Setenv(hostVariable, "localhost")
	}
	s := &servers{nats: startNATS(t), clickhouse: startClickHouse(t)}

	conn, err := nats.Connect(s.nats)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if s.jetstream, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(s.clickhouse)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := address.User.Password()
	config := warehouse.Config{Addr: address.Host, User: address.User.Username(), Password: password, Database: "default"}
	if s.warehouse, err = warehouse.Open(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.warehouse.Close() }) // it was only asked
	return s
}

// watchRows looks at the databases of tests until it is asked for the most rows
// that it has seen there. They are gone when a suite is over.
func (s *servers) watchRows(t *testing.T) (most func() uint64) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	seen := make(chan uint64, 1)
	go func() {
		var top uint64
		for ctx.Err() == nil {
			var now uint64
			row := s.warehouse.Conn().QueryRow(ctx, "SELECT toUInt64(sum(total_rows)) FROM system.tables WHERE startsWith(database, 'sluice_test_') AND name IN ('events', 'exposures')")
			if row.Scan(&now) == nil { // a table may go in the middle of the question
				top = max(top, now)
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
		seen <- top
	}()
	return func() uint64 { stop(); return <-seen }
}

// testDatabases are those that tests have made and not dropped.
func (s *servers) testDatabases(t *testing.T) (names []string) {
	t.Helper()
	row := s.warehouse.Conn().QueryRow(t.Context(), "SELECT groupArray(name) FROM system.databases WHERE startsWith(name, 'sluice_test_')")
	if err := row.Scan(&names); err != nil {
		t.Fatal(err)
	}
	return names
}

// requests is how often the container's JetStream was asked for something, this
// question included.
func (s *servers) requests(t *testing.T) uint64 {
	t.Helper()
	account, err := s.jetstream.AccountInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return account.API.Total
}

// startNATS starts a NATS with the settings of the compose file.
func startNATS(t *testing.T) (address string) {
	t.Helper()
	image := serverImage(t, "nats", natsImageVariable, natsImage)
	settings, err := os.Open(filepath.Join(composeDir(t), "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	defer settings.Close()
	container, err := natsmodule.Run(t.Context(), image,
		testcontainers.WithLogger(log.TestLogger(t)),
		testcontainers.WithCmd(), // the module's own would print every message
		natsmodule.WithConfigFile(settings),
		testcontainers.WithAdditionalWaitStrategy(wait.ForLog("Server is ready")))
	ends(t, container, err)
	if address, err = container.ConnectionString(t.Context()); err != nil {
		t.Fatal(err)
	}
	return address
}

// startClickHouse starts a ClickHouse with a user who may do everything.
func startClickHouse(t *testing.T) (address string) {
	t.Helper()
	image := serverImage(t, "clickhouse", clickhouseImageVariable, clickhouseImage)
	container, err := clickhousemodule.Run(t.Context(), image,
		testcontainers.WithLogger(log.TestLogger(t)),
		clickhousemodule.WithUsername("tests"),
		clickhousemodule.WithPassword(rand.Text()))
	ends(t, container, err)
	host, err := container.ConnectionHost(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "clickhouse", User: url.UserPassword(container.User, container.Password), Host: host}).String()
}

// ends ends a container with the test, after it has said why it failed, if it did.
func ends(t *testing.T, container testcontainers.Container, started error) {
	t.Helper()
	testcontainers.CleanupContainer(t, container)
	if started != nil {
		t.Fatal(started) // with the log
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		logs, err := container.Logs(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
			return
		}
		defer logs.Close()
		text, err := io.ReadAll(logs)
		t.Logf("the container's log (%v):\n%s", err, text)
	})
}

// serverImage returns the image that a variable names, else that of the compose
// file, and where that is not at hand one that is built here of what stands for
// the same server.
func serverImage(t *testing.T, service, variable string, build func(*testing.T) string) string {
	t.Helper()
	if named := os.Getenv(variable); named != "" {
		return named
	}
	deployed := compose(t).Services[service].Image
	if exec.CommandContext(t.Context(), "docker", "image", "inspect", deployed).Run() == nil {
		return deployed
	}
	built := build(t)
	t.Logf("the image %s is not at hand: %s was built here (docker pull %s, or %s=<image>, for another)", deployed, built, deployed, variable)
	return built
}

// natsImage is the server of the module that our embedded one is.
func natsImage(t *testing.T) string {
	t.Helper()
	program := compiled(t, "github.com/nats-io/nats-server/v2")
	return localImage(t, "sluice-test-nats", "nats-server", rootFS{"nats-server": program})
}

// libraryLine is a line of ldd that names a file.
var libraryLine = regexp.MustCompile(`(?m)^\t(?:\S+ => )?(/\S+) \(0x`)

// clickhouseImage is the embedded engine, a program around it, and the files of
// this system's libc that both want.
func clickhouseImage(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		need(t, "an image of the ClickHouse engine cannot be built on "+runtime.GOOS+": set "+clickhouseImageVariable)
	}
	library, err := embed.FindLibrary()
	if errors.Is(err, embed.ErrNoLibrary) {
		need(t, fmt.Sprintf("no image of ClickHouse is at hand, and none can be built: %v", err))
	} else if err != nil {
		t.Fatal(err)
	}
	program := compiled(t, "./containers/engine")
	files := rootFS{"engine": program, "libchdb.so": library}
	for _, file := range []string{program, library} {
		out, err := exec.CommandContext(t.Context(), "ldd", file).Output()
		if err != nil {
			need(t, fmt.Sprintf("no image of ClickHouse is at hand, and none can be built: ldd %s: %v", file, err))
		}
		for _, m := range libraryLine.FindAllSubmatch(out, -1) {
			files[string(m[1][1:])] = string(m[1])
		}
	}
	return localImage(t, "sluice-test-clickhouse", "engine", files)
}

// compiled builds a program for the containers of this machine, always to the
// same bytes.
func compiled(t *testing.T, pkg string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join(harness.Root(t), "tests"), "-trimpath", "-buildvcs=false", "-ldflags=-s", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	return file
}
