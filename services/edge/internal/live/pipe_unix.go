//go:build unix

package live

import (
	"errors"
	"net"
	"syscall"
)

// immediate returns a write that takes only what the kernel has room for, or nil
// when c is not a plain socket.
func immediate(c net.Conn) func([]byte) (int, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return func(p []byte) (n int, err error) {
		werr := raw.Write(func(fd uintptr) bool {
			for {
				n, err = syscall.Write(int(fd), p)
				if !errors.Is(err, syscall.EINTR) {
					return true
				}
			}
		})
		if werr != nil {
			return 0, werr
		}
		if errors.Is(err, syscall.EAGAIN) {
			return 0, nil
		}
		return max(n, 0), err
	}
}
