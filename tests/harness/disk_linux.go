package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// needDisks skips the test where nothing may be mounted, unless REQUIRE_DISKS=1
// turns that into a failure.
func needDisks(t testing.TB, err error) {
	t.Helper()
	need(t, "REQUIRE_DISKS", fmt.Sprintf("no disk can be mounted here (root, tmpfs and loop devices are needed): %v", err))
}

// SmallDisk mounts a disk of some bytes in memory, until the test ends.
func SmallDisk(t testing.TB, bytes int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		needDisks(t, err)
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// A FragileDisk is one whose power can be cut: an ext4 in a file.
type FragileDisk struct {
	t       testing.TB
	Dir     string
	image   string
	mounted bool
}

// NewFragileDisk mounts a fragile disk until the test ends.
func NewFragileDisk(t testing.TB, bytes int64) *FragileDisk {
	t.Helper()
	d := &FragileDisk{t: t, Dir: t.TempDir(), image: filepath.Join(t.TempDir(), "disk")}
	err := os.WriteFile(d.image, nil, 0o600)
	if err == nil {
		err = os.Truncate(d.image, bytes)
	}
	if err == nil {
		err = exec.Command("mkfs.ext4", "-q", d.image).Run()
	}
	if err == nil {
		err = d.mount()
	}
	if err != nil {
		needDisks(t, err)
	}
	t.Cleanup(func() {
		if d.mounted {
			unmount(t, d.Dir)
		}
	})
	return d
}

func (d *FragileDisk) mount() error {
	out, err := exec.Command("mount", "-o", "loop", d.image, d.Dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	d.mounted = true
	return nil
}

// Cut cuts the power: what was not synced is not on the disk. Nothing can be
// written any longer; those who hold files have to be gone before [FragileDisk.Restore].
func (d *FragileDisk) Cut() {
	d.t.Helper()
	const (
		shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN
		noLogFlush = 2
	)
	dir, err := os.Open(d.Dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer dir.Close()
	how := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		d.t.Fatalf("cutting the power of %s: %v", d.image, errno)
	}
}

// Restore mounts the disk again, as it was when the power was cut.
func (d *FragileDisk) Restore() {
	d.t.Helper()
	unmount(d.t, d.Dir)
	d.mounted = false
	if err := d.mount(); err != nil {
		d.t.Fatalf("mounting the disk after a power cut: %v", err)
	}
}

func unmount(t testing.TB, dir string) {
	t.Helper()
	err := Await(startLimit, func() error { return syscall.Unmount(dir, 0) }) // files of the dead are closed a moment later
	if err != nil {
		t.Errorf("unmounting %s: %v", dir, err)
	}
}
