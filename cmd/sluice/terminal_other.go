//go:build !unix

package main

import "os"

// columnsOf returns how wide a terminal is; false for a file that is none.
func columnsOf(file *os.File) (int, bool) {
	info, err := file.Stat()
	return 80, err == nil && info.Mode()&os.ModeCharDevice != 0
}
