package embed

import "syscall"

// childAttributes put the child in a process group of its own, out of the
// terminal's reach, and have the kernel kill it when the parent is gone.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
