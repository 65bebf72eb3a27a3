package embed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The engine lets whoever may ask it anything read every file that it can read
// itself, by the function file(), which no grant and no setting takes away. So
// the child gives up, before the engine is in it, all files but those that the
// engine works with: by Landlock, which any process may use and none can undo.
const (
	reading = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	writing = unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	owning  = reading | writing | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	ofFiles = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE // what a rule may say of one that is no folder
)

// system is what programs of any kind read where it is there: libraries, clocks,
// names, and what the kernel tells of the machine.
var system = map[string]uint64{
	"/lib": reading, "/lib64": reading, "/usr": reading, "/sys": reading,
	"/dev/null": reading | writing, "/dev/zero": reading, "/dev/random": reading, "/dev/urandom": reading,
	"/etc/ld.so.cache": reading, "/etc/localtime": reading, "/etc/timezone": reading, "/etc/os-release": reading, "/etc/ssl": reading,
	"/etc/hosts": reading, "/etc/resolv.conf": reading, "/etc/nsswitch.conf": reading, "/etc/host.conf": reading, "/etc/gai.conf": reading,
}

// kernel is what the engine reads in /proc: of itself and of the machine, and not
// of other processes, whose command lines may have passwords in them.
var kernel = []string{
	"/proc/self", "/proc/sys", "/proc/pressure", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/vmstat",
	"/proc/diskstats", "/proc/filesystems", "/proc/version",
}

// canConfine reports whether the kernel has what confine needs: Landlock that lets
// files move between folders, which Linux 5.19 brought.
func canConfine() bool {
	version, _, failed := syscall.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return failed == 0 && version >= 2
}

// confine replaces the process by the same program in the same folder, with env,
// that can read and write dir, read the library, and nothing else of anybody's.
// It returns only if that fails.
func confine(dir, library string, env []string) error {
	// What is given up, and that the kernel kills us with our parent, is said of this
	// thread, which is the one that the new program has.
	runtime.LockOSThread()
	const executable = "/proc/self/exe"
	attributes := unix.LandlockRulesetAttr{Handled_access_fs: owning}
	rules, _, failed := syscall.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes.Handled_access_fs), 0)
	if failed != 0 {
		return fmt.Errorf("making rules: %w", failed)
	}
	defer func() { _ = unix.Close(int(rules)) }()
	allow := func(path string, access uint64, flags int) error {
		at, err := unix.Open(path, unix.O_PATH|flags, 0) // closed by exec, or never
		if err != nil {
			return fmt.Errorf("opening %s: %w", path, err)
		}
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			access &= ofFiles
		}
		rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(at)}
		_, _, failed := syscall.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		if failed != 0 {
			return fmt.Errorf("allowing %s: %w", path, failed)
		}
		return nil
	}
	for path, access := range map[string]uint64{dir: owning, library: reading, executable: reading} {
		if err := allow(path, access, unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	// What of the rest cannot be allowed is not read: should it be needed, the child
	// ends, and its parent starts it as it is.
	for path, access := range system {
		_ = allow(path, access, unix.O_CLOEXEC)
	}
	for _, folder := range filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")) {
		_ = allow(folder, reading, unix.O_CLOEXEC)
	}
	// These stay open: a rule is about a node of the file system, and what nobody has
	// open in /proc is another one the next time that it is looked up.
	for _, path := range kernel {
		_ = allow(path, reading, 0)
	}
	// Landlock keeps the memory and environment of others from a confined process,
	// but not from root, unless these are not among its powers. Others have none to lose.
	for _, power := range []uintptr{unix.CAP_PERFMON, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, power, 0, 0, 0); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, failed := syscall.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0); failed != 0 {
		return fmt.Errorf("giving up files: %w", failed)
	}
	return syscall.Exec(executable, os.Args, env)
}
