package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Nothing is worth timing that does not give the right answers.
func TestEveryEngineDoesTheWork(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			passed, colored := 0, map[string]int{}
			for i, s := range subjects {
				domain := strings.HasSuffix(s.email, emailDomain)
				for k, want := range map[kind]bool{onOff: true, suffix: domain, bigSegment: s.member, variants: true, nested: domain} {
					if got := e.check(k)(i); got != want {
						t.Fatalf("%v for user %d = %v, want %v", k, i, got, want)
					}
				}
				if e.rule != nil {
					if got := e.rule(i); got != matchingRule {
						t.Fatalf("W3 for user %d was decided by %q, want %q", i, got, matchingRule)
					}
				}
				if e.check(tenRules)(i) {
					passed++
				}
				colored[e.color(i)]++
			}
			if passed < userCount*2/5 || passed > userCount*3/5 {
				t.Errorf("W3 passes %d of %d users, want about half", passed, userCount)
			}
			for _, color := range colors {
				if n := colored[color]; n < userCount/5 || n > userCount/2 {
					t.Errorf("W5 gives %s to %d of %d users, want about a third", color, n, userCount)
				}
			}
			if e.all != nil {
				if size := e.all()(0); size < 50_000 {
					t.Errorf("1,000 flags are %d bytes of JSON, want a real payload", size)
				}
			}
		})
	}
}

// The bound is a bound only if it does the same hashing.
func TestEnginesOfOneProtocolAgreeOnEveryUnit(t *testing.T) {
	ours, sdk, floor := sluice(), statsigGo(), bound()
	for i := range subjects {
		for _, other := range []engine{sdk, floor} {
			if a, b := ours.check(tenRules)(i), other.check(tenRules)(i); a != b {
				t.Errorf("W3 for user %d: ours %v, %s %v", i, a, other.name, b)
			}
			if a, b := ours.color(i), other.color(i); a != b {
				t.Errorf("W5 for user %d: ours %s, %s %s", i, a, other.name, b)
			}
		}
	}
}

func TestARunPrintsEveryWorkload(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a project of 10,000 flags for every engine")
	}
	var out bytes.Buffer
	b := bench{engines: []engine{sluice(), statsigGo(), bound()}, enough: time.Millisecond, rounds: 1}
	b.run(&out)
	for _, want := range []string{"W1 ", "W6 ", "W7, 1,000 flags to JSON", "load 10000 flags", "heap kept", "cores over that of one, ours"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
