//go:build unix && !linux

package embed

import "syscall"

// childAttributes put the child in a process group of its own, out of the
// terminal's reach. The end of its standard input tells it that the parent is
// gone; there is no stronger means here.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
