package faults

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestTheEngineNeverOutlivesTheProcess(t *testing.T) {
	p := harness.Start(t, harness.Options{})
	for _, end := range []struct {
		name string
		do   func()
	}{
		{"kill -9", p.Kill},
		{"SIGTERM", p.Stop},
	} {
		engines := p.Engines()
		if len(engines) != 1 || !harness.Alive(engines[0]) {
			t.Fatalf("engines %v before %s; want one that lives", engines, end.name)
		}
		end.do()
		checkGone(t, engines[0])
		p.Restart()
	}
}

// Whoever starts the platform where it cannot run is told why in one line, and
// what runs there already is left in peace.
func TestAStartThatCannotSucceedSaysWhyInOneLine(t *testing.T) {
	running := harness.Start(t, harness.Options{})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	locked := filepath.Join(t.TempDir(), "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // whom permissions do not stop
		locked = "/proc"
	}

	for _, test := range []struct {
		name string
		args []string
		want []string // in the line
	}{
		{"a data folder in use", []string{"--data", running.Data}, []string{running.Data, "in use"}},
		{"an address in use", []string{"--listen", taken.Addr().String()}, []string{taken.Addr().String(), "in use", "--listen", "SLUICE_LISTEN"}},
		{"an ops address in use", []string{"--ops", taken.Addr().String()}, []string{taken.Addr().String(), "in use", "--ops", "SLUICE_OPS"}},
		{"a NATS address in use", []string{"--nats-listen", taken.Addr().String()}, []string{taken.Addr().String(), "in use", "--nats-listen", "SLUICE_NATS_LISTEN"}},
		{"a gRPC address in use", []string{"--grpc-listen", taken.Addr().String()}, []string{taken.Addr().String(), "in use", "--grpc-listen", "SLUICE_GRPC_LISTEN"}},
		{"an address of another machine", []string{"--listen", "192.0.2.1:80"}, []string{"192.0.2.1:80"}},
		{"no engine", []string{"--engine", "/nonexistent"}, []string{"/nonexistent"}},
		{"an engine that is none", []string{"--engine", file}, []string{file}},
		{"a file in the folder's place", []string{"--data", file}, []string{file, "--data"}},
		{"a folder under a file", []string{"--data", filepath.Join(file, "data")}, []string{file, "--data"}},
		{"a folder that cannot be made", []string{"--data", filepath.Join(locked, "data")}, []string{locked, "--data"}},
		{"a flag that is unknown", []string{"--nonsense"}, []string{"--nonsense"}},
		{"a flag with a wrong value", []string{"--demo-seed", "many"}, []string{"--demo-seed", "many"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := []string{"run", "--data", t.TempDir(), "--listen", freeport.For(t), "--ops", freeport.For(t)}
			_, stderr, code := harness.Program(t, append(args, test.args...)...)
			if code == 0 {
				t.Errorf("sluice run %v ended with exit code 0; want another", test.args)
			}
			var lines []string
			for line := range strings.Lines(stderr) {
				if !strings.Contains(line, " level=INFO ") { // how far it came
					lines = append(lines, line)
				}
			}
			if len(lines) != 1 {
				t.Errorf("sluice run %v printed %q; want one line", test.args, lines)
			}
			for _, part := range test.want {
				if !strings.Contains(stderr, part) {
					t.Errorf("sluice run %v printed %q; want %q in it", test.args, stderr, part)
				}
			}
		})
	}
	running.Must(200, nil, running.AdminKey(), "GET", "/api/v1/projects", nil)
}
