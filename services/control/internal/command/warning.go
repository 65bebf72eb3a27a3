package command

import (
	"fmt"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// Warnings lists what is lawful in a document and yet hardly meant.
func Warnings(d flags.Document) flags.Problems {
	out := flags.Problems{}
	switch d := d.(type) {
	case *flags.Gate:
		if d.Type == "temporary" && d.ExpiresAt == nil {
			out = append(out, flags.Problem{Pointer: "/expiresAt", Code: "no_expiry", Message: "a temporary gate without an end tends to stay"})
		}
		out = append(out, unreachable(d.Rules)...)
	case *flags.Config:
		out = append(out, unreachable(d.Rules)...)
	case *flags.Segment:
		out = append(out, unreachable(d.Rules)...)
	case *flags.Experiment:
		if len(d.Metrics) == 0 && d.Status == flags.ExperimentRunning {
			out = append(out, flags.Problem{Pointer: "/metrics", Code: "no_metrics", Message: "an experiment without metrics shows nothing"})
		}
	}
	return out
}

// Strict refuses a command that comes to a document with warnings.
type Strict struct{ Command }

// Decide implements [Command].
func (c Strict) Decide(s *flags.State, env Env) (Decision, error) {
	d, err := c.Command.Decide(s, env)
	if err != nil {
		return d, err
	}
	if warnings := Warnings(d.After); len(warnings) > 0 {
		return Decision{}, &Refusal{Reason: Warned, Message: warnings[0].Message, Warnings: warnings}
	}
	return d, nil
}

// unreachable finds rules behind one that decides for everybody everywhere.
func unreachable(rules []flags.Rule) flags.Problems {
	var out flags.Problems
	decided := false
	for i, r := range rules {
		if decided && !r.Disabled {
			out = append(out, flags.Problem{Pointer: fmt.Sprintf("/rules/%d", i), Code: "unreachable", Message: "an earlier rule decides for everybody"})
		}
		everybody := len(r.Conditions) == 0 || len(r.Conditions) == 1 && r.Conditions[0].Type == "public"
		decided = decided || everybody && r.Environments == nil && !r.Disabled
	}
	return out
}
