package durable

import (
	"errors"
	"os"
	"syscall"
)

// syncData puts the file's data on the disk, and of its metadata only what
// reading the data needs: a new modification time is not worth a journal entry.
func syncData(file *os.File) error {
	for {
		err := syscall.Fdatasync(int(file.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
