package containers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A rootFS is what an image holds: the paths of files on this machine, by their
// names in the root of the image.
type rootFS map[string]string

// localImage makes an image of a program and what it needs, and of nothing else,
// as FROM scratch does. Its tag is the hash of its files, so that an image that
// was made before is used again; one of other files goes.
func localImage(t *testing.T, name, program string, files rootFS) (reference string) {
	t.Helper()
	hash := sha256.New()
	if err := files.archive(hash); err != nil {
		t.Fatal(err)
	}
	reference = name + ":" + hex.EncodeToString(hash.Sum(nil))[:16]
	if exec.CommandContext(t.Context(), "docker", "image", "inspect", reference).Run() == nil {
		return reference
	}
	older := strings.Fields(docker(t, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name))

	read, write, err := os.Pipe() // a file, so that the client's end is seen here
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	archived := make(chan error, 1)
	go func() {
		archived <- files.archive(write)
		_ = write.Close()
	}()
	cmd := exec.CommandContext(t.Context(), "docker", "import", "--change", fmt.Sprintf("ENTRYPOINT [%q]", "/"+program), "-", reference)
	cmd.Stdin = read
	out, err := cmd.CombinedOutput()
	_ = read.Close() // or the archive would wait for a client that has failed
	if archiveErr := <-archived; err == nil {
		err = archiveErr
	}
	if err != nil {
		t.Fatalf("docker import %s: %v\n%s", reference, err, bytes.TrimSpace(out))
	}
	for _, image := range older {
		_ = exec.Command("docker", "image", "rm", image).Run() // somebody may be using it
	}
	return reference
}

// archive writes the files, the same ones always to the same bytes.
func (files rootFS) archive(w io.Writer) error {
	out := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := add(out, name, files[name]); err != nil {
			return fmt.Errorf("adding %s: %w", name, err)
		}
	}
	return out.Close()
}

func add(out *tar.Writer, name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(out, file)
	return err
}
