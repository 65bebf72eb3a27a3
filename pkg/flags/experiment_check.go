package flags

import (
	"maps"
	"math"
	"slices"
	"strings"
)

func (e *Experiment) normalize() {
	normalizeAbout(&e.About)
	if e.Status == "" {
		e.Status = ExperimentDraft
	}
	normalizeTime(&e.StartedAt)
	normalizeTime(&e.EndedAt)
	e.UnitType = CanonicalUnitType(e.UnitType)
	if e.Crossovers == "exclude" { // what it means to say nothing
		e.Crossovers = CrossoversExcluded
	}
	unlist(&e.TargetApps)
	unlist(&e.Buckets)
	if e.TargetingRules != nil {
		normalizeRules(&e.TargetingRules)
		unlist(&e.TargetingRules)
	}
	if e.Groups == nil {
		e.Groups = []Group{}
	}
	for i := range e.Groups {
		e.Groups[i].Parameters = compact(e.Groups[i].Parameters)
	}
	// Without a word about it, the first group is the baseline.
	if len(e.Groups) > 0 && !slices.ContainsFunc(e.Groups, func(g Group) bool { return g.Control }) {
		e.Groups[0].Control = true
	}
	e.Overrides = canonicalKeys(e.Overrides)
	unlist(&e.Holdouts)
	unlist(&e.Metrics)
}

func (e *Experiment) references(yield func(mention)) {
	if e.Layer != "" {
		yield(mention{pointer: "/layer", kind: KindLayer, name: e.Layer})
	}
	if e.TargetingGate != "" {
		yield(mention{pointer: "/targetingGate", kind: KindGate, name: e.TargetingGate, decides: true})
	}
	mentionRules("/targetingRules", e.TargetingRules, yield)
	mentionHoldouts(e.Holdouts, yield)
	for i, name := range e.Metrics {
		yield(mention{pointer: at("/metrics", i), kind: KindMetric, name: name})
	}
}

func (e *Experiment) validate(v *validation) {
	v.length("/hypothesis", e.Hypothesis, 10_000)
	oneOfValues(v, "/status", e.Status,
		ExperimentDraft, ExperimentRunning, ExperimentDecided, ExperimentAbandoned, ExperimentArchived)
	oneOfValues(v, "/crossovers", e.Crossovers, CrossoversExcluded, CrossoversKeepFirst)
	v.unitType("/unitType", e.UnitType)
	v.salt("/salt", e.Salt)
	v.texts("/targetApps", e.TargetApps, maxTags, 100)
	v.percentage("/allocation", e.Allocation, 1)
	v.rules(e.TargetingRules, rulesOf{pointer: "/targetingRules"})
	v.texts("/holdouts", e.Holdouts, maxTags, maxValue)
	v.texts("/metrics", e.Metrics, maxTags, maxValue)
	e.validateGroups(v)
	e.validateOverrides(v)
	e.validateLayer(v)
	e.validateLife(v)
}

func (e *Experiment) validateGroups(v *validation) {
	switch {
	case len(e.Groups) < 2:
		v.add("/groups", CodeRequired, "an experiment compares at least two groups")
	case len(e.Groups) > maxGroups:
		v.add("/groups", CodeTooLarge, "%d groups; at most %d", len(e.Groups), maxGroups)
		return
	}
	ids, names, types := map[string]bool{}, map[string]bool{}, map[string]string{}
	total, controls := 0.0, 0
	for i, g := range e.Groups {
		pointer := at("/groups", i)
		v.partID(at(pointer, "id"), "group", g.ID, ids)
		switch {
		case g.Name == "":
			v.add(at(pointer, "name"), CodeRequired, "the group has no name")
		case names[fold(g.Name)]:
			v.add(at(pointer, "name"), CodeDuplicate, "another group is called %q", clip(g.Name))
		}
		names[fold(g.Name)] = true
		v.length(at(pointer, "name"), g.Name, 100)
		v.length(at(pointer, "description"), g.Description, 10_000)
		v.percentage(at(pointer, "share"), g.Share, 1)
		total += g.Share
		if g.Control {
			if controls++; controls > 1 {
				v.add(at(pointer, "control"), CodeDuplicate, "another group is the control")
			}
		}
		v.object(at(pointer, "parameters"), g.Parameters)
		for name, value := range object(g.Parameters) {
			if was, ok := types[name]; ok && was != jsonType(value) {
				v.add(at(pointer, "parameters", name), CodeType, "want %s as in the groups before, got %s", was, jsonType(value))
				continue
			}
			types[name] = jsonType(value)
		}
	}
	if tenths(total) > Buckets {
		v.add("/groups", CodeInvalid, "the shares add up to %v %%; at most 100", math.Round(total*10)/10)
	}
}

func (e *Experiment) validateOverrides(v *validation) {
	for unitType, groups := range e.Overrides {
		pointer, seen := at("/overrides", unitType), map[string]string{}
		v.unitType(pointer, unitType)
		for _, group := range slices.Sorted(maps.Keys(groups)) {
			if !slices.ContainsFunc(e.Groups, func(g Group) bool { return g.ID == group }) {
				v.add(at(pointer, group), CodeMissing, "there is no group %q", clip(group))
			}
			v.unitIDs(at(pointer, group), groups[group], seen)
		}
	}
}

func (e *Experiment) validateLayer(v *validation) {
	if e.Layer == "" {
		if e.Buckets != nil {
			v.add("/buckets", CodeUnknown, "only experiments in a layer own buckets")
		}
		return
	}
	found, ok := v.state.Find(KindLayer, e.Layer)
	if !ok {
		return // reported with all mentions
	}
	layer := found.Doc.(*Layer)
	if layer.UnitType != e.UnitType {
		v.add("/unitType", CodeInvalid, "the layer %q divides units by %s", layer.Name, layer.UnitType)
	}
	defaults := object(layer.Parameters)
	for i, g := range e.Groups {
		for name, value := range object(g.Parameters) {
			pointer := at("/groups", i, "parameters", name)
			if want, ok := defaults[name]; !ok {
				v.add(pointer, CodeMissing, "the layer %q has no parameter %q", layer.Name, clip(name))
			} else if jsonType(want) != jsonType(value) {
				v.add(pointer, CodeType, "want %s as in the layer, got %s", jsonType(want), jsonType(value))
			}
		}
	}
	if e.Status == ExperimentRunning {
		e.validateBuckets(v, found.Ref)
	}
}

// validateBuckets keeps experiments of one layer apart.
func (e *Experiment) validateBuckets(v *validation, layer Ref) {
	var own bucketSet
	for i, r := range e.Buckets {
		if r[0] < 0 || r[0] >= r[1] || r[1] > Buckets || own.overlaps(r) {
			v.add(at("/buckets", i), CodeInvalid, "want half-open ranges within 0 to %d that do not overlap", Buckets)
			return
		}
		own.add(r)
	}
	if want := tenths(e.Allocation); own.count() != want {
		free := v.state.freeBuckets(layer, v.ref)
		v.add("/allocation", CodeInvalid, "the layer has room for %v %%", float64(free.count())/10)
		return
	}
	for _, other := range v.state.experimentsIn(layer) {
		if other.ID == e.ID || other.Status != ExperimentRunning {
			continue
		}
		for i, r := range e.Buckets {
			if slices.ContainsFunc(other.Buckets, func(o [2]int) bool { return r[0] < o[1] && o[0] < r[1] }) {
				v.add(at("/buckets", i), CodeTaken, "the experiment %q owns some of these buckets", other.Name)
			}
		}
	}
}

// lives is which status may follow which.
var lives = map[ExperimentStatus][]ExperimentStatus{
	ExperimentDraft:     {ExperimentRunning, ExperimentAbandoned, ExperimentArchived},
	ExperimentRunning:   {ExperimentDecided, ExperimentAbandoned, ExperimentDraft},
	ExperimentDecided:   {ExperimentArchived, ExperimentDraft},
	ExperimentAbandoned: {ExperimentArchived, ExperimentDraft},
	ExperimentArchived:  {ExperimentDraft, ExperimentDecided, ExperimentAbandoned},
}

func (e *Experiment) validateLife(v *validation) {
	switch e.Status {
	case ExperimentRunning, ExperimentDecided:
		if e.StartedAt == nil {
			v.add("/startedAt", CodeRequired, "a %s experiment has a start", e.Status)
		}
		if !slices.ContainsFunc(e.Groups, func(g Group) bool { return g.Share > 0 }) {
			v.add("/groups", CodeInvalid, "no group has a share")
		}
	}
	switch {
	case e.Status == ExperimentDecided && e.Decision == nil:
		v.add("/decision", CodeRequired, "a decided experiment names the group that won")
	case e.Decision != nil:
		v.length("/decision/note", e.Decision.Note, 10_000)
		if !slices.ContainsFunc(e.Groups, func(g Group) bool { return g.ID == e.Decision.Group }) {
			v.add("/decision/group", CodeMissing, "there is no group %q", clip(e.Decision.Group))
		}
		if e.Status == ExperimentDraft || e.Status == ExperimentRunning {
			v.add("/decision", CodeUnknown, "a %s experiment is not decided", e.Status)
		}
	}
	if e.Status == ExperimentDecided && e.EndedAt == nil {
		v.add("/endedAt", CodeRequired, "a decided experiment has an end")
	}
	if e.StartedAt != nil && e.EndedAt != nil && e.EndedAt.Before(*e.StartedAt) {
		v.add("/endedAt", CodeInvalid, "the end is before the start")
	}
	if before, ok := v.before.(*Experiment); ok {
		e.validateStep(v, before)
	} else if e.Status != ExperimentDraft && e.Status != ExperimentRunning {
		v.add("/status", CodeInvalid, "an experiment begins as draft or running")
	}
}

// validateStep keeps what collected facts rely on: once units are in groups,
// groups stay what and where they are.
func (e *Experiment) validateStep(v *validation, before *Experiment) {
	if e.Status != before.Status && !slices.Contains(lives[before.Status], e.Status) {
		v.add("/status", CodeInvalid, "an experiment that is %s cannot become %s", before.Status, e.Status)
		return
	}
	if before.StartedAt == nil {
		return // nobody has been in a group
	}
	if e.Status == ExperimentDraft {
		if e.Status != before.Status && e.salt() == before.salt() {
			v.add("/salt", CodeRequired, "starting again needs another salt, or units would keep their groups: reset the experiment")
		}
		return
	}
	for _, fixed := range []struct {
		pointer   string
		unchanged bool
	}{
		{"/name", e.Name == before.Name}, // facts carry it
		{"/salt", e.salt() == before.salt()},
		{"/unitType", e.UnitType == before.UnitType},
		{"/layer", strings.EqualFold(e.Layer, before.Layer)},
		{"/startedAt", e.StartedAt != nil && e.StartedAt.Equal(*before.StartedAt)},
	} {
		if !fixed.unchanged {
			v.add(fixed.pointer, CodeImmutable, "the experiment has started")
		}
	}
	if len(e.Groups) != len(before.Groups) {
		v.add("/groups", CodeImmutable, "the experiment has started: its groups stay")
		return
	}
	for i, g := range e.Groups {
		was := before.Groups[i]
		if g.ID != was.ID || g.Share != was.Share || g.Control != was.Control || string(g.Parameters) != string(was.Parameters) {
			v.add(at("/groups", i), CodeImmutable, "the experiment has started: id, share, parameters and place of a group stay")
		}
	}
}

// salt is what units are drawn into groups with.
func (e *Experiment) salt() string { return orID(e.Salt, e.ID) }

// parameters lists the parameters that the groups set, in order.
func (e *Experiment) parameters() []string {
	all := map[string]bool{}
	for _, g := range e.Groups {
		for name := range object(g.Parameters) {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// tenths turns a percentage into buckets of a thousand.
func tenths(percent float64) int { return int(math.Round(percent * 10)) }

// orID is the salt that a document or rule means: its own, or its id.
func orID(salt, id string) string {
	if salt != "" {
		return salt
	}
	return id
}
