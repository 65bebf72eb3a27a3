//go:build !linux

package durable

import "os"

// syncData puts the file on the disk.
func syncData(file *os.File) error { return file.Sync() }
