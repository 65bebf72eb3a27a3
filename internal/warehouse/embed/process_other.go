//go:build !unix

package embed

import "syscall"

func childAttributes() *syscall.SysProcAttr { return nil }
