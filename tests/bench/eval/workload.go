package main

import (
	"fmt"
	"math/rand/v2"
)

// The workload in nobody's language: users, and what each kind of flag asks of
// them. Every engine's file translates it into that engine's own rules.

const (
	userCount   = 256
	segmentSize = 100_000
	emailDomain = "@example.com"
	segmentFlag = "w6_gate_b" // the gate in the middle of W6
)

// A subject is whom flags are evaluated for.
type subject struct {
	id, email, country, plan, version string
	member                            bool // of the segment
}

// subjects are the users that a measurement rotates through: half of them in the
// segment, half with an address of the domain.
var subjects = func() []subject {
	r := rand.New(rand.NewPCG(7, 7))
	out := make([]subject, userCount)
	for i := range out {
		n, member := r.IntN(segmentSize), r.IntN(2) == 0
		if !member {
			n += segmentSize
		}
		domain := "@other.org"
		if r.IntN(2) == 0 {
			domain = emailDomain
		}
		out[i] = subject{
			id: segmentID(n), email: fmt.Sprintf("person.%d%s", n, domain),
			country: "DE", plan: "pro", version: "3.14.2", member: member,
		}
	}
	return out
}()

func segmentID(n int) string { return fmt.Sprintf("user_%07d", n) }

func segmentIDs() []string {
	ids := make([]string, segmentSize)
	for i := range ids {
		ids[i] = segmentID(i)
	}
	return ids
}

// A kind is the shape of a flag.
type kind int

const (
	onOff      kind = iota // W1: on for everybody
	suffix                 // W2: the e-mail ends with the domain
	tenRules               // W3: the ninth of ten rules matches, and lets half pass
	bigSegment             // W4: one of 100,000 ids
	variants               // W5: an experiment of three equal groups, each a JSON object
	nested                 // W6: a gate on a gate on a segment on the e-mail
	kinds
)

func (k kind) String() string { return fmt.Sprintf("W%d", k+1) }

// key is the name of the one flag of a kind.
func (k kind) key() string {
	return [kinds]string{"w1_onoff", "w2_email", "w3_tenrules", "w4_segment", "w5_experiment", "w6_gate_a"}[k]
}

// A named flag of a kind, with the salt that places units.
type flagSpec struct {
	key, salt string
	kind      kind
}

// flags returns a project of n flags in the mix that W7 and loading use, 40 %
// W1, 20 % W2, 15 % W3, 5 % W4, 15 % W5 and 5 % W6, or with 0 one of each kind.
func flags(n int) (out []flagSpec) {
	if n == 0 {
		for k := range kinds {
			out = append(out, flagSpec{k.key(), fmt.Sprintf("salt%08d", k), k})
		}
	}
	const mix = "00000000111122234445" // kinds by turns
	for i := range n {
		out = append(out, flagSpec{fmt.Sprintf("flag_%05d_checkout", i), fmt.Sprintf("salt%08d", i), kind(mix[i%len(mix)] - '0')})
	}
	return out
}

// A targeting is one rule of W3: all three must hold, then half pass.
type targeting struct {
	id, plan, minVersion string
	countries            []string
}

// targetings are the rules of W3. The first three fail on the country, the next
// three on the plan, two on the version; the ninth holds; the last fails again,
// for the engines in which a failed percentage goes on to the next rule.
func targetings() (out []targeting) {
	for i := 1; i <= 10; i++ {
		t := targeting{fmt.Sprintf("rule_%02d_abcdef", i), "pro", "3.10.0", []string{"FR", "US", "DE"}}
		switch {
		case i <= 3, i == 10:
			t.countries = []string{"FR", "US", "JP"}
		case i <= 6:
			t.plan = "enterprise"
		case i <= 8:
			t.minVersion = "4.0.1"
		}
		out = append(out, t)
	}
	return out
}

// matchingRule is the rule of W3 that decides for every user.
const matchingRule = "rule_09_abcdef"

// bounds are the upper ends of W5's groups, of 1,000 buckets.
var bounds = [3]int{333, 667, 1000}

var colors = [3]string{"red", "green", "blue"}

// configuration is what group i of W5 gets.
func configuration(i int) map[string]any {
	return map[string]any{
		"color": colors[i], "enabled": i != 0, "limits": []any{1.0, 2.0, float64(i)},
		"size": float64(10 + i), "title": "checkout button",
	}
}

func groupID(i int) string { return fmt.Sprintf("group_%d_abcdef", i) }
