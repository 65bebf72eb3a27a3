package eval_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// Run with: go test -run '^$' -bench . ./eval
// Peers and the processor's floor are measured beside these in tests/bench.

// measure runs f with users in rotation, on one processor and on all. Besides the
// wall clock it reports the CPU time of the process, which is steadier on a
// machine that does other things too.
func measure(b *testing.B, name string, f func(u *eval.User)) {
	users := workloadUserList()
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		start := cpuTime()
		for i := range b.N {
			f(&users[i%workloadUsers])
		}
		b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
	})
	b.Run(name+"/parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				f(&users[i%workloadUsers])
			}
		})
	})
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail for the process itself
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkEvaluate(b *testing.B) {
	rules := workloadRuleset(0)
	for kind := 1; kind <= 6; kind++ {
		name := workloadNames[kind]
		decide := rules.Gate
		if kind == 5 {
			decide = rules.Config
		}
		measure(b, fmt.Sprintf("W%d", kind), func(u *eval.User) {
			if res := decide(u, name); !res.Found {
				b.Errorf("%s is not there", name)
			}
		})
	}
	hashed := make([]string, 0, segmentSize)
	for _, id := range segmentIDs() {
		hashed = append(hashed, eval.HashID(id))
	}
	lists := map[string]*eval.IDList{"big": eval.NewIDList(hashed)}
	rules = eval.Compile(workloadSpecs(0), eval.Options{IDLists: lists})
	measure(b, "W4/hashed", func(u *eval.User) { rules.Gate(u, workloadNames[4]) })
}

// W7: all 1,000 flags of a mixed project for one user, as JSON.
func BenchmarkPayload(b *testing.B) {
	rules := workloadRuleset(1000)
	for mode := range eval.HashMode(3) {
		buffers := sync.Pool{New: func() any { return new([]byte) }}
		measure(b, "W7/"+mode.String(), func(u *eval.User) {
			body := buffers.Get().(*[]byte)
			*body = rules.AppendClient((*body)[:0], u, eval.ClientOptions{Hash: mode})
			buffers.Put(body)
		})
	}
	ref := eval.Ref{Section: eval.Gates, Name: "flag_00012_checkout"}
	body := make([]byte, 0, 1024)
	b.Run("entry", func(b *testing.B) {
		users := workloadUserList()
		b.ReportAllocs()
		for i := range b.N {
			rules.AppendClientEntry(body, &users[i%workloadUsers], ref, eval.ClientOptions{})
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		body, err := json.Marshal(workloadSpecs(n))
		if err != nil {
			b.Fatal(err)
		}
		loading := func(name string, f func() error) {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				start := cpuTime()
				for range b.N {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/1e6, "cpu-ms/op")
			})
		}
		loading("parse and compile", func() error { load(b, body); return nil })
		loading("parse", func() error { _, err := eval.ParseSpecs(body); return err })
		loading("encoding json alone", func() error { var s eval.Specs; return json.Unmarshal(body, &s) })
		b.Run(fmt.Sprintf("%d/heap", n), func(b *testing.B) {
			for range b.N {
				b.ReportMetric(retained(b, body)/float64(n), "B/flag")
			}
		})
	}
}

func load(tb testing.TB, body []byte) *eval.Ruleset {
	specs, err := eval.ParseSpecs(body)
	if err != nil {
		tb.Fatalf("ParseSpecs(%d bytes) = %v", len(body), err)
	}
	return eval.Compile(specs, eval.Options{})
}

// retained returns the heap that a loaded ruleset keeps alive.
func retained(tb testing.TB, body []byte) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	rules := load(tb, body)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(rules)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

func BenchmarkApply(b *testing.B) {
	rules := workloadRuleset(10_000)
	for name, spec := range map[string]eval.Spec{
		"one gate":                    workloadSpec(3, "flag_00012_checkout", "salt"),
		"a gate with 500 dependents":  gate("w6_gate_b", "mid", rule("rule_mid", 50, "true")),
		"a new gate":                  workloadSpec(2, "brand_new", "salt"),
		"a gate that refers to a new": gate("flag_00001_checkout", "s", rule("r", 100, "true", condition("pass_gate", "", "", "w6_gate_b"))),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				next := rules.Apply(eval.Change{Time: 1_700_000_000_001, Set: []eval.Spec{spec}})
				next.Dependents(spec.Ref())
			}
		})
	}
}
