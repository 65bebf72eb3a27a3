//go:build !linux

package main

import (
	"syscall"
	"time"
)

func childAttributes() *syscall.SysProcAttr { return nil }

func cpu(int) (time.Duration, error) { return 0, errNoEpoll }
