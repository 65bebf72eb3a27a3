package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// An Action is a step in an entity's life that has a name of its own.
type Action struct {
	// Unconditional actions need no If-Match: stopping harm must not wait for
	// somebody to read first.
	Unconditional bool
	// Takes names the parameters that the action knows.
	Takes []string
	// Edit returns what the action makes of a document, given its parameters.
	Edit func(doc flags.Document, p Parameters, env Env) (flags.Document, error)
}

// Parameters are what an action's body may say. Which of them an action takes
// is in the table.
type Parameters struct {
	Environments []string `json:"environments"` // where; none means everywhere
	Group        string   `json:"group"`        // the group to ship, by id or name
	Abandon      bool     `json:"abandon"`      // ship none
	Note         string   `json:"note"`         // what was learned
	Allocation   *float64 `json:"allocation"`   // percentage of units that may take part
}

// actions is the table of all actions.
var actions = map[flags.Kind]map[string]Action{
	flags.KindGate: {
		"enable":    {Edit: status(flags.StatusInProgress)},
		"disable":   {Edit: status(flags.StatusDisabled)},
		"launch":    {Edit: status(flags.StatusLaunched)},
		"archive":   {Edit: status(flags.StatusArchived)},
		"unarchive": {Edit: status(flags.StatusInProgress)},
		"kill":      {Edit: kill, Takes: []string{"environments"}, Unconditional: true},
		"revive":    {Edit: revive, Takes: []string{"environments"}},
		"resalt":    {Edit: resalt},
	},
	flags.KindConfig: {
		"enable":    {Edit: status(flags.StatusInProgress)},
		"disable":   {Edit: status(flags.StatusDisabled)},
		"archive":   {Edit: status(flags.StatusArchived)},
		"unarchive": {Edit: status(flags.StatusInProgress)},
		"kill":      {Edit: kill, Takes: []string{"environments"}, Unconditional: true},
		"revive":    {Edit: revive, Takes: []string{"environments"}},
		"resalt":    {Edit: resalt},
	},
	flags.KindSegment:     {"archive": {Edit: status(flags.StatusArchived)}, "unarchive": {Edit: status(flags.StatusInProgress)}},
	flags.KindHoldout:     {"archive": {Edit: status(flags.StatusArchived)}, "unarchive": {Edit: status(flags.StatusInProgress)}},
	flags.KindLayer:       {"archive": {Edit: status(flags.StatusArchived)}, "unarchive": {Edit: status(flags.StatusInProgress)}},
	flags.KindMetric:      {"archive": {Edit: status(flags.StatusArchived)}, "unarchive": {Edit: status(flags.StatusInProgress)}, "verify": {Edit: verify}},
	flags.KindEnvironment: {"archive": {Edit: status(flags.StatusArchived)}, "unarchive": {Edit: status(flags.StatusInProgress)}},
	flags.KindExperiment: {
		"start":      {Edit: start},
		"stop":       {Edit: stop},
		"decision":   {Edit: decide, Takes: []string{"group", "abandon", "note"}},
		"allocation": {Edit: allocate, Takes: []string{"allocation"}},
		"reset":      {Edit: reset},
		"archive":    {Edit: archiveExperiment},
	},
	flags.KindKey: {"revoke": {Edit: revoke, Unconditional: true}},
}

// ActionOf returns the action of a kind by its name.
func ActionOf(kind flags.Kind, name string) (Action, bool) {
	a, ok := actions[kind][name]
	return a, ok
}

// Actions lists the names of a kind's actions.
func Actions(kind flags.Kind) []string {
	var names []string
	for name := range actions[kind] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// status returns an edit to another place in the life of whatever has one.
func status(to flags.Status) func(flags.Document, Parameters, Env) (flags.Document, error) {
	return func(doc flags.Document, _ Parameters, _ Env) (flags.Document, error) {
		switch d := doc.(type) {
		case *flags.Gate:
			d.Status = to
		case *flags.Config:
			d.Status = to
		case *flags.Segment:
			d.Status = to
		case *flags.Holdout:
			d.Status = to
		case *flags.Layer:
			d.Status = to
		case *flags.Metric:
			d.Status = to
		case *flags.Environment:
			d.Status = to
		default:
			return nil, fmt.Errorf("a %s has no status", doc.Ref().Kind)
		}
		return doc, nil
	}
}

// offIn is where an entity is killed.
func offIn(doc flags.Document) *[]string {
	switch d := doc.(type) {
	case *flags.Gate:
		return &d.OffIn
	case *flags.Config:
		return &d.OffIn
	}
	return nil
}

func kill(doc flags.Document, p Parameters, _ Env) (flags.Document, error) {
	off := offIn(doc)
	for _, e := range p.Environments {
		if !slices.Contains(*off, e) {
			*off = append(*off, e)
		}
	}
	return doc, nil
}

func revive(doc flags.Document, p Parameters, _ Env) (flags.Document, error) {
	off := offIn(doc)
	*off = slices.DeleteFunc(*off, func(e string) bool { return slices.Contains(p.Environments, e) })
	return doc, nil
}

func revoke(doc flags.Document, _ Parameters, _ Env) (flags.Document, error) {
	doc.(*flags.Key).Revoked = true
	return doc, nil
}

func verify(doc flags.Document, _ Parameters, _ Env) (flags.Document, error) {
	doc.(*flags.Metric).Verified = true
	return doc, nil
}

func start(doc flags.Document, _ Parameters, _ Env) (flags.Document, error) {
	x := doc.(*flags.Experiment)
	switch x.Status {
	case flags.ExperimentRunning:
		return doc, nil
	case flags.ExperimentDraft, "":
	default:
		return nil, wrongState(x, "start")
	}
	x.Status = flags.ExperimentRunning
	return doc, nil
}

// allocate lets more or fewer units take part.
func allocate(doc flags.Document, p Parameters, _ Env) (flags.Document, error) {
	if p.Allocation == nil {
		return nil, flags.Problems{{Pointer: "/allocation", Code: flags.CodeRequired, Message: "say how many percent of the units may take part"}}
	}
	x := doc.(*flags.Experiment)
	if x.Status != flags.ExperimentDraft && x.Status != flags.ExperimentRunning {
		return nil, wrongState(x, "reallocate")
	}
	x.Allocation = *p.Allocation
	return doc, nil
}

// reset makes a draft again. Units are drawn anew when it starts: what they did
// before belongs to what it was then.
func reset(doc flags.Document, _ Parameters, env Env) (flags.Document, error) {
	x := doc.(*flags.Experiment)
	if x.Status != flags.ExperimentDraft {
		x.Status, x.Decision, x.Salt = flags.ExperimentDraft, nil, env.NewID("salt_")
	}
	return doc, nil
}

// resalt draws the units of percentages anew.
func resalt(doc flags.Document, _ Parameters, env Env) (flags.Document, error) {
	salt := env.NewID("salt_")
	switch d := doc.(type) {
	case *flags.Gate:
		d.Salt = salt
	case *flags.Config:
		d.Salt = salt
	}
	return doc, nil
}

func stop(doc flags.Document, p Parameters, env Env) (flags.Document, error) {
	p.Abandon = true
	return decide(doc, p, env)
}

// decide ends an experiment: a group's parameters become everybody's, or the
// defaults do.
func decide(doc flags.Document, p Parameters, _ Env) (flags.Document, error) {
	x := doc.(*flags.Experiment)
	to, decision := flags.ExperimentAbandoned, (*flags.Decision)(nil)
	if p.Abandon && p.Group != "" {
		return nil, flags.Problems{{Pointer: "/group", Code: flags.CodeInvalid, Message: "ship a group or abandon, not both"}}
	}
	if !p.Abandon {
		i := slices.IndexFunc(x.Groups, func(g flags.Group) bool { return g.ID == p.Group || g.Name == p.Group })
		if i < 0 {
			return nil, flags.Problems{{Pointer: "/group", Code: flags.CodeMissing, Message: fmt.Sprintf("the experiment has no group %q: name one to ship, or send abandon: true", p.Group)}}
		}
		to, decision = flags.ExperimentDecided, &flags.Decision{Group: x.Groups[i].ID, Note: p.Note}
	}
	if x.Status == to && (decision == nil || x.Decision != nil && *x.Decision == *decision) {
		return doc, nil
	}
	if x.Status != flags.ExperimentRunning {
		return nil, wrongState(x, "end")
	}
	x.Status, x.Decision = to, decision
	return doc, nil
}

func archiveExperiment(doc flags.Document, _ Parameters, _ Env) (flags.Document, error) {
	x := doc.(*flags.Experiment)
	if x.Status == flags.ExperimentRunning {
		return nil, wrongState(x, "archive")
	}
	x.Status = flags.ExperimentArchived
	return doc, nil
}

func wrongState(x *flags.Experiment, verb string) error {
	return refuse(WrongState, flags.Entity{}, "cannot %s experiment %q while it is %s", verb, x.Name, x.Status)
}

// Act takes one step in the life of an entity.
type Act struct {
	Kind       flags.Kind
	Name       string
	Action     string
	Match      Match
	Parameters Parameters
}

// Decide implements [Command].
func (c Act) Decide(s *flags.State, env Env) (Decision, error) {
	action, ok := ActionOf(c.Kind, c.Action)
	if !ok {
		return Decision{}, refuse(NotFound, flags.Entity{}, "a %s knows no action %q", c.Kind, c.Action)
	}
	match := c.Match
	if action.Unconditional && match.Seq == 0 {
		match.Any = true
	}
	p := c.Parameters
	if len(p.Environments) == 0 {
		for e := range s.All(flags.KindEnvironment) {
			p.Environments = append(p.Environments, e.Name)
		}
	}
	return Change{Kind: c.Kind, Name: c.Name, Match: match, Edit: func(doc flags.Document, env Env) (flags.Document, error) {
		return action.Edit(doc, p, env)
	}}.Decide(s, env)
}

// Patch returns an edit that applies a merge patch (RFC 7396) to the document.
func Patch(patch json.RawMessage) Edit {
	return func(current flags.Document, _ Env) (flags.Document, error) {
		raw, err := flags.Encode(current)
		if err != nil {
			return nil, err
		}
		return flags.Decode(current.Ref().Kind, mergePatch(raw, patch))
	}
}

// mergePatch applies an RFC 7396 patch: members replace members, objects merge,
// null removes.
func mergePatch(target, patch json.RawMessage) json.RawMessage {
	var changes map[string]json.RawMessage
	if json.Unmarshal(patch, &changes) != nil || changes == nil {
		return patch
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(target, &members) != nil || members == nil {
		members = map[string]json.RawMessage{}
	}
	for name, change := range changes {
		if string(change) == "null" {
			delete(members, name)
			continue
		}
		members[name] = mergePatch(members[name], change)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(members); err != nil {
		return patch // only values that are no JSON fail, and these were read as such
	}
	return b.Bytes()
}
