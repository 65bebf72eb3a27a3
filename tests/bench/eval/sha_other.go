//go:build !amd64

package main

func sumBlock(*[64]byte) (uint64, bool) { return 0, false }
