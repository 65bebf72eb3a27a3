package containers

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/tests/harness"
)

// nobody is who the images run as.
const nobody = 65532

// The images start with the settings and the restrictions of the compose file,
// and are the platform.
func TestThreeContainersAreOnePlatform(t *testing.T) {
	needDocker(t)
	newSite(t, asContainer).journey()
}

// need skips the test, unless REQUIRE_CONTAINERS=1 turns that into a failure.
func need(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("REQUIRE_CONTAINERS") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// needDocker skips the test where no Docker engine of this machine answers.
func needDocker(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "version", "--format", "{{.Server.Os}}").CombinedOutput()
	if err != nil {
		need(t, fmt.Sprintf("no Docker engine answers: %v: %s", err, bytes.TrimSpace(out)))
	}
	if system := strings.TrimSpace(string(out)); system != "linux" {
		need(t, "the Docker engine's containers are not Linux but "+system)
	}
}

// docker runs a command that has to succeed, and returns what it prints.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0") // the builder that every engine has
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("docker %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return strings.TrimSpace(stdout.String())
}

// image builds a service's image: with the whole Dockerfile where the image of
// the Go tools is at hand, and else with its last stage, on what was built here.
func image(t *testing.T, service string) string {
	t.Helper()
	tag := fmt.Sprintf("sluice-test-%s:%d", service, time.Now().UnixNano())
	builder, final := stages(t)
	fields := strings.Fields(builder[0]) // FROM image AS build
	args := []string{"build", "--quiet", "--tag", tag}
	if exec.CommandContext(t.Context(), "docker", "image", "inspect", fields[1]).Run() == nil {
		root := harness.Root(t)
		docker(t, append(args, "--file", filepath.Join(root, "deploy", "docker", "Dockerfile"), "--build-arg", "SERVICE="+service, root)...)
	} else {
		t.Logf("the image %s is not at hand: the image of %s is built of a binary that was compiled here", fields[1], service)
		docker(t, append(args, lastStage(t, service, final))...)
	}
	t.Cleanup(func() { docker(t, "image", "rm", "--force", tag) })
	return tag
}

// lastStage makes a build context for the last stage alone, with everything
// where the first one would have left it.
func lastStage(t *testing.T, service string, final []string) string {
	t.Helper()
	dir := t.TempDir()
	raw, err := os.ReadFile(binary(t, service))
	if err != nil {
		t.Fatal(err)
	}
	dockerfile := strings.ReplaceAll(strings.Join(final, "\n"), "--from=build ", "")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "out", "data"), 0o755),
		os.MkdirAll(filepath.Join(dir, "etc", "ssl", "certs"), 0o755),
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile+"\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "out", "service"), raw, 0o755),
		os.WriteFile(filepath.Join(dir, "etc", "ssl", "certs", "ca-certificates.crt"), nil, 0o644), // nothing here speaks TLS
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var userLine = regexp.MustCompile(`(?m)^Uid:\t(\d+)\t(\d+)`)

// asContainer runs a service's image on the network of the machine.
func asContainer(t *testing.T, s *site, service string, env map[string]string) func() string {
	t.Helper()
	settings := compose(t).Services[service]
	args := []string{"run", "--detach", "--network", "host", "--volume", s.secrets + ":" + strings.TrimSuffix(secretsDir, "/") + ":ro"}
	if settings.ReadOnly {
		args = append(args, "--read-only")
	}
	for _, c := range settings.CapDrop {
		args = append(args, "--cap-drop", c)
	}
	for _, o := range settings.SecurityOpt {
		args = append(args, "--security-opt", o)
	}
	for name, value := range env {
		args = append(args, "--env", name+"="+value)
	}
	for _, v := range settings.Volumes {
		volume := docker(t, "volume", "create")
		t.Cleanup(func() { docker(t, "volume", "rm", volume) })
		args = append(args, "--volume", volume+":"+v.Target)
	}
	id := docker(t, append(args, image(t, service))...)
	t.Cleanup(func() { docker(t, "rm", "--force", "--volumes", id) })
	t.Cleanup(func() {
		docker(t, "stop", id)
		if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", id); code != "0" {
			t.Errorf("%s ended with %s when it was asked to stop; want 0", service, code)
		}
		if data, ok := env["SLUICE_DATA"]; ok {
			checkOwner(t, service, id, data)
		}
	})
	checkUser(t, service, id)
	checkNoShell(t, service, id)
	return func() string {
		out, err := exec.Command("docker", "logs", id).CombinedOutput()
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
}

// checkUser asks the kernel who the service runs as.
func checkUser(t *testing.T, service, id string) {
	t.Helper()
	pid := docker(t, "inspect", "--format", "{{.State.Pid}}", id)
	status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s has ended, or the Docker engine is not on this machine:\n%s", service, docker(t, "logs", id))
	} else if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Uid:\t%d\t%d", nobody, nobody)
	if got := userLine.FindString(string(status)); got != want {
		t.Errorf("%s runs as %q; want %q", service, got, want)
	}
	if !strings.Contains(string(status), "\nCapEff:\t0000000000000000\n") {
		t.Errorf("%s has capabilities:\n%s", service, status)
	}
}

func checkNoShell(t *testing.T, service, id string) {
	t.Helper()
	if out, err := exec.Command("docker", "exec", id, "/bin/sh", "-c", "true").CombinedOutput(); err == nil {
		t.Errorf("%s has a shell: %s", service, out)
	}
}

// checkOwner makes sure that a service has written to its volume, as nobody.
func checkOwner(t *testing.T, service, id, dir string) {
	t.Helper()
	out, err := exec.Command("docker", "cp", id+":"+dir, "-").Output()
	if err != nil {
		t.Errorf("reading %s of %s: %v", dir, service, err)
		return
	}
	files := 0
	for archive := tar.NewReader(bytes.NewReader(out)); ; {
		entry, err := archive.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Errorf("reading %s of %s: %v", dir, service, err)
			return
		}
		if entry.Typeflag != tar.TypeReg {
			continue
		}
		files++
		if entry.Uid != nobody {
			t.Errorf("%s of %s belongs to %d; want %d", entry.Name, service, entry.Uid, nobody)
		}
	}
	if files == 0 {
		t.Errorf("%s has written nothing to %s", service, dir)
	}
}
