package main

import "math"

// shaBlock returns the first eight bytes of SHA-256 of a message that is one
// padded block, by the processor's own instructions for it and nothing else: what
// a percentage costs at the very least.
//
//go:noescape
func shaBlock(start *[4]uint64, constants *[64]uint32, block *[64]byte) uint64

func cpuid(leaf, subleaf uint32) (ebx, ecx uint32)

// hasSHA is whether this processor has those instructions.
var hasSHA = func() bool {
	const sse41, sha = 1 << 19, 1 << 29
	_, features := cpuid(1, 0)
	extended, _ := cpuid(7, 0)
	return features&sse41 != 0 && extended&sha != 0
}()

// shaStart is the initial state in the order of the instructions, shaConstants
// are the round constants: 32 bits after the point of the square and cube roots
// of the first primes.
var shaStart, shaConstants = func() (start [4]uint64, constants [64]uint32) {
	fraction := func(x float64) uint64 { return uint64((x - math.Floor(x)) * (1 << 32)) }
	var roots [8]uint64
	n := 0
	for p := 2; n < len(constants); p++ {
		if !isPrime(p) {
			continue
		}
		if n < len(roots) {
			roots[n] = fraction(math.Sqrt(float64(p)))
		}
		constants[n] = uint32(fraction(math.Cbrt(float64(p))))
		n++
	}
	for i, pair := range [...][2]int{{4, 5}, {0, 1}, {6, 7}, {2, 3}} {
		start[i] = roots[pair[0]]<<32 | roots[pair[1]]
	}
	return start, constants
}()

func isPrime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}

// sumBlock is shaBlock where the processor has it.
func sumBlock(block *[64]byte) (first uint64, ok bool) {
	if !hasSHA {
		return 0, false
	}
	return shaBlock(&shaStart, &shaConstants, block), true
}
