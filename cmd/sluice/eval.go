package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// evalCommand is `sluice eval`.
type evalCommand struct {
	remote

	Name        string `arg:"" help:"Name or id of a gate, config, experiment, layer, segment or holdout."`
	User        string `help:"Whom to decide for, as SDKs send it: JSON such as {\"userID\": \"ada\"}." required:"" placeholder:"JSON"`
	Environment string `help:"Where the user is." default:"production" placeholder:"NAME"`
	AsOf        string `help:"As it was at a sequence or a time." placeholder:"SEQUENCE|TIME"`
	Trace       bool   `help:"Say how the decision came about: rules, conditions with what they saw, buckets."`
	JSON        bool   `help:"Print the answer as it comes, as JSON."`
}

// trace is how a decision came about.
type trace struct {
	Section  string      `json:"section"`
	Name     string      `json:"name"`
	Rules    []ruleTrace `json:"rules"`
	Delegate *trace      `json:"delegate"`
}

type ruleTrace struct {
	ID         string           `json:"id"`
	Percentage float64          `json:"percentage"`
	Matched    bool             `json:"matched"`
	Conditions []conditionTrace `json:"conditions"`
	Rollout    *struct {
		Bucket    int     `json:"bucket"`
		Threshold float64 `json:"threshold"`
	} `json:"rollout"`
}

type conditionTrace struct {
	Type     string          `json:"type"`
	Operator string          `json:"operator"`
	Field    string          `json:"field"`
	Input    json.RawMessage `json:"input"`
	Expected json.RawMessage `json:"expected"`
	Holds    bool            `json:"holds"`
	Gate     *trace          `json:"gate"`
}

// run prints what a user gets.
func (c *evalCommand) run(ctx context.Context, out io.Writer) error {
	if err := c.complete(c.Name); err != nil {
		return err
	}
	var user map[string]json.RawMessage
	if err := json.Unmarshal([]byte(c.User), &user); err != nil || user == nil {
		return usageError(fmt.Sprintf(`--user %q is no JSON object: want such as {"userID": "ada"}`, c.User))
	}
	question := map[string]any{"user": user, "names": []string{c.Name}, "environment": c.Environment, "trace": c.Trace}
	if c.AsOf != "" {
		question["asOf"] = c.AsOf
	}
	got, err := c.call(ctx, c.Key, http.MethodPost, c.path("evaluate"), question)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := out.Write(got.body)
		return err
	}
	var answer struct {
		Results []struct {
			Kind   string          `json:"kind"`
			Name   string          `json:"name"`
			Value  json.RawMessage `json:"value"`
			RuleID string          `json:"ruleId"`
			Group  string          `json:"group"`
			Trace  *trace          `json:"trace"`
		} `json:"results"`
	}
	if err := json.Unmarshal(got.body, &answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	var b strings.Builder
	for _, r := range answer.Results {
		fmt.Fprintf(&b, "%s %s: %s  (rule %s", r.Kind, r.Name, r.Value, r.RuleID)
		if r.Group != "" {
			fmt.Fprintf(&b, ", %s", r.Group)
		}
		b.WriteString(")\n")
		r.Trace.print(&b, "  ")
	}
	_, err = io.WriteString(out, b.String())
	return err
}

// print writes a trace, each level further in. Nil writes nothing.
func (t *trace) print(b *strings.Builder, indent string) {
	if t == nil {
		return
	}
	said := map[bool]string{true: "yes", false: "no"}
	for _, r := range t.Rules {
		fmt.Fprintf(b, "%s%-4s rule %s, %v %%", indent, said[r.Matched], r.ID, r.Percentage)
		if r.Rollout != nil {
			fmt.Fprintf(b, ": bucket %d of 10000, those below %v pass", r.Rollout.Bucket, r.Rollout.Threshold)
		}
		b.WriteByte('\n')
		for _, condition := range r.Conditions {
			parts := []string{condition.Type, condition.Field, condition.Operator, string(condition.Expected)}
			if input := string(condition.Input); input != "" && condition.Gate == nil && condition.Type != "public" {
				parts = append(parts, "of "+input)
			}
			fmt.Fprintf(b, "%s  %-4s %s\n", indent, said[condition.Holds], strings.Join(strings.Fields(strings.Join(parts, " ")), " "))
			if condition.Gate != nil {
				condition.Gate.print(b, indent+"    ")
			}
		}
	}
	if t.Delegate != nil {
		fmt.Fprintf(b, "%sby %s\n", indent, t.Delegate.Name)
		t.Delegate.print(b, indent+"  ")
	}
}
