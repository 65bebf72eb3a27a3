//go:build !linux

package main

import (
	"errors"
	"time"
)

var errNoProc = errors.New("what processes use is read from /proc, which only Linux has")

func cpuOf(int) (time.Duration, error) { return 0, errNoProc }
func residentOf(int) (int64, error)    { return 0, errNoProc }
