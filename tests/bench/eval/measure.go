package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// A cost is what one operation took.
type cost struct {
	cpu    float64 // nanoseconds of the process's CPU time, the collector's included
	allocs float64
}

// measure runs f over the users in rotation for about the given time.
func measure(f func(i int), enough time.Duration) cost {
	n := 1
	for {
		before, start := allocations(), cpuTime()
		for i := range n {
			f(i % userCount)
		}
		took := cpuTime() - start
		if took >= enough {
			return cost{float64(took) / float64(n), float64(allocations()-before) / float64(n)}
		}
		// Once it is long enough to be judged, go straight for the wanted time.
		grow := 8.0
		if took > enough/50 {
			grow = min(grow, 1.2*float64(enough)/float64(took))
		}
		n = int(float64(n)*grow) + 1
	}
}

// scaling returns how many times the work of one processor all of them do. It
// goes by CPU time, since others may be using the machine: workers that disturb
// each other's caches take more of it for the same work.
func scaling(f func(i int), enough time.Duration) float64 {
	one, all := perCall(1, f, enough), perCall(runtime.GOMAXPROCS(0), f, enough)
	return float64(runtime.GOMAXPROCS(0)) * one / all
}

// perCall returns the CPU time of a call while so many workers make them.
func perCall(workers int, f func(i int), enough time.Duration) float64 {
	var done sync.WaitGroup
	counts := make([]int, workers)
	start, until := cpuTime(), time.Now().Add(enough)
	for w := range workers {
		done.Go(func() {
			n := 0
			for time.Now().Before(until) {
				for i := range 512 {
					f((i + w*37) % userCount)
				}
				n += 512
			}
			counts[w] = n
		})
	}
	done.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(cpuTime()-start) / float64(total)
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// kept returns the heap that a value keeps alive.
func kept(load func() (any, func())) float64 {
	before := heap()
	value, done := load()
	after := heap()
	runtime.KeepAlive(value)
	done()
	return float64(after) - float64(before)
}

func heap() uint64 {
	debug.FreeOSMemory() // collects, twice over
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// least returns the least of a few costs, by CPU time. Whatever else runs on the
// machine only adds to them: quartiles of runs at quiet and at busy hours differ
// by half, the least of their rounds by a few percent.
func least(costs []cost) cost {
	return slices.MinFunc(costs, func(a, b cost) int { return cmp.Compare(a.cpu, b.cpu) })
}
