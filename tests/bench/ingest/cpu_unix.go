//go:build unix

package main

import (
	"syscall"
	"time"
)

// cpuOfSelf is how much processor time this process has had.
func cpuOfSelf() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // of this process, it never fails
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
