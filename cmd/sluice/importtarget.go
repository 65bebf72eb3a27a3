package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An importTarget is where the facts of a file belong.
type importTarget struct {
	experiment string
	unitType   string
	started    time.Time
	shift      time.Duration     // added to every time of the file
	groups     map[string]string // name → id
	metrics    []importMetric    // as columns.metrics
	notes      []string          // what the caller should know
}

// An importMetric is what a value of a column becomes.
type importMetric struct {
	doc      importedMetric
	event    string
	valueKey string // metadata key of the value; empty for the event's own
	did      bool   // only that it happened counts: no event for 0
	before   bool
	made     bool // by this import
}

// The documents, as far as an import looks at them.
type importedExperiment struct {
	Name      string     `json:"name"`
	Status    string     `json:"status"`
	StartedAt *time.Time `json:"startedAt"`
	UnitType  string     `json:"unitType"`
	Metrics   []string   `json:"metrics"` // names or ids
	Groups    []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"groups"`
}

type importedMetric struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	Event     string `json:"event"`
	ValueFrom string `json:"valueFrom"`
}

// beforeExposure is how long before the exposure the values of --before happened:
// within the look-back of a metric, seven days unless it says otherwise.
const beforeExposure = 24 * time.Hour

// The oldest fact that ingest takes, with a day to spare.
const oldest = (2*365 - 1) * 24 * time.Hour

// target finds the experiment and the metrics, and makes what is not there if
// that is wanted, once it is sure that the facts would count.
func (c *importCommand) target(ctx context.Context, cols columns, found surveyed) (*importTarget, error) {
	to := &importTarget{groups: map[string]string{}}
	var x importedExperiment
	var planned map[string]any // to be made
	err := c.find(ctx, &x, "experiments", c.Experiment)
	switch {
	case isNotFound(err) && c.Create:
		if planned, to.started, err = c.newExperiment(found); err != nil {
			return nil, err
		}
	case isNotFound(err):
		return nil, fmt.Errorf("there is no experiment %q; --create makes it: %w", c.Experiment, err)
	case err != nil:
		return nil, err
	case x.StartedAt == nil:
		return nil, fmt.Errorf("the experiment %q is %s and has not started, so no fact would count: start it first", c.Experiment, x.Status)
	default:
		to.started = *x.StartedAt
	}
	if err := to.place(found, c.Shift, time.Now()); err != nil {
		return nil, err
	}
	for i, m := range cols.metrics { // before anything is made
		if err := countable(m, m.kind, found.counts[i]); err != nil {
			return nil, err
		}
	}
	var names []string
	for i, m := range cols.metrics {
		one, err := c.metric(ctx, m)
		if err != nil {
			return nil, err
		}
		if err := countable(m, one.doc.Type, found.counts[i]); err != nil {
			return nil, err
		}
		to.metrics = append(to.metrics, one)
		if slices.Contains(names, m.metric) {
			continue
		}
		names = append(names, m.metric)
		switch measured := slices.Contains(x.Metrics, one.doc.ID) || slices.Contains(x.Metrics, one.doc.Name); {
		case planned != nil && !one.made:
			to.notes = append(to.notes, fmt.Sprintf("the metric %q was there: what units with the same ids did elsewhere counts too; another name keeps data sets apart", m.metric))
		case planned == nil && !measured:
			to.notes = append(to.notes, fmt.Sprintf("the experiment %q does not measure %q: add it to its metrics to see it in results", c.Experiment, m.metric))
		}
	}
	if planned != nil {
		planned["metrics"] = names
		got, err := c.call(ctx, c.Key, http.MethodPost, c.path("experiments"), planned)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(got.body, &x); err != nil {
			return nil, fmt.Errorf("reading the new experiment: %w", err)
		}
	}
	to.experiment, to.unitType = x.Name, x.UnitType
	for _, g := range x.Groups {
		to.groups[g.Name] = g.ID
	}
	for group := range found.groups {
		if to.groups[group] == "" {
			return nil, fmt.Errorf("the experiment %q has no group %q, which column %s has; it has %q", x.Name, group, cols.group, slices.Sorted(maps.Keys(to.groups)))
		}
	}
	return to, nil
}

// countable refuses a column that has another number than 0 and 1, if its metric
// counts events.
func countable(m metricColumn, kind string, other lineError) error {
	if kind != "event_count" || other.line == 0 {
		return nil
	}
	return fmt.Errorf("line %d: column %s has %s, and the metric %q counts events, one a line: import it as a metric of type sum", other.line, m.column, other.text, m.metric)
}

func isNotFound(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.status == http.StatusNotFound
}

func (c *importCommand) find(ctx context.Context, into any, parts ...string) error {
	got, err := c.patiently(ctx, c.Key, http.MethodGet, c.path(parts...), nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(got.body, into)
}

// metric finds the metric of a column, or makes it.
func (c *importCommand) metric(ctx context.Context, m metricColumn) (importMetric, error) {
	var doc importedMetric
	made := false
	err := c.find(ctx, &doc, "metrics", m.metric)
	if isNotFound(err) && c.Create && !m.before {
		got, wrong := c.call(ctx, c.Key, http.MethodPost, c.path("metrics"), map[string]any{
			"name": m.metric, "type": cmp.Or(m.kind, "sum"), "event": m.metric, "unitType": c.UnitType,
		})
		if wrong != nil {
			return importMetric{}, wrong
		}
		made, err = true, json.Unmarshal(got.body, &doc)
	}
	switch {
	case isNotFound(err):
		return importMetric{}, fmt.Errorf("there is no metric %q; --create makes it: %w", m.metric, err)
	case err != nil:
		return importMetric{}, err
	case !slices.Contains(importedTypes, doc.Type):
		return importMetric{}, fmt.Errorf("the metric %q is a %s, which one column cannot hold", m.metric, doc.Type)
	case m.kind != "" && m.kind != doc.Type:
		return importMetric{}, fmt.Errorf("the metric %q is a %s, not a %s", m.metric, doc.Type, m.kind)
	}
	one := importMetric{doc: doc, made: made, event: doc.Event, before: m.before, did: doc.Type == "event_user" || doc.Type == "event_count"}
	if key, ok := strings.CutPrefix(doc.ValueFrom, "metadata."); ok {
		one.valueKey = key
	}
	return one, nil
}

// newExperiment is the document of an experiment that had the groups of a file,
// and when it started.
func (c *importCommand) newExperiment(found surveyed) (doc map[string]any, started time.Time, err error) {
	names := slices.Sorted(maps.Keys(found.groups))
	if len(names) < 2 {
		return nil, started, fmt.Errorf("column %s has the group %q alone: an experiment compares two or more", c.GroupColumn, names)
	}
	shares := map[string]float64{}
	for _, text := range c.Share {
		name, number, _ := strings.Cut(text, "=")
		share, err := strconv.ParseFloat(number, 64)
		if err != nil || !(share >= 0 && share <= 100) || found.groups[name] == 0 {
			return nil, started, usageError(fmt.Sprintf("--share %q: want a group of the file and a percentage, such as %s=50", text, names[0]))
		}
		shares[name] = share
	}
	if len(shares) == 0 {
		for _, name := range names {
			shares[name] = math.Floor(1000/float64(len(names))) / 10
		}
	}
	control := c.Control
	for _, name := range names {
		if control == "" && strings.EqualFold(name, "control") {
			control = name
		}
	}
	control = cmp.Or(control, names[0])
	if found.groups[control] == 0 {
		return nil, started, usageError(fmt.Sprintf("--control %q: the file has the groups %q", control, names))
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == control })
	names = slices.Insert(names, 0, control) // as a scorecard is read
	groups := []map[string]any{}
	for _, name := range names {
		groups = append(groups, map[string]any{"name": name, "share": shares[name], "control": name == control, "parameters": map[string]any{}})
	}
	started = time.Now().UTC().Truncate(time.Second)
	switch {
	case c.TimeColumn != "" && c.Shift:
		started = started.Add(-found.last.Sub(found.first)).Add(-time.Second)
	case c.TimeColumn != "":
		started = found.first
	}
	return map[string]any{
		"name": c.Experiment, "status": "running", "startedAt": started.Format(time.RFC3339Nano), "unitType": c.UnitType,
		"allocation": 100, "groups": groups,
		"description": "Imported: nobody is divided by it.",
	}, started, nil
}

// place says when the facts of the file happened, and refuses times that would
// not count.
func (t *importTarget) place(found surveyed, shift bool, now time.Time) error {
	if found.first.IsZero() { // no column of times
		return nil
	}
	if shift {
		t.shift = t.started.Sub(found.first)
	}
	first, last := found.first.Add(t.shift), found.last.Add(t.shift)
	day := func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") }
	switch {
	case now.Sub(first) > oldest:
		return fmt.Errorf("the file begins at %s, which is too long ago to be taken (two years): move its times with --shift", day(first))
	case last.After(now.Add(time.Minute)):
		return fmt.Errorf("the file goes on to %s, which is in the future: move its times with --shift", day(last))
	case first.Before(t.started):
		return fmt.Errorf("the file begins at %s, before the experiment started at %s: such facts would not count; move its times with --shift", day(first), day(t.started))
	}
	return nil
}

// facts are those of one line: that the unit was exposed, and what it did.
func (t *importTarget) facts(r row) []fact {
	unit := r.unit
	if unit == "" {
		unit = fmt.Sprintf("%s line %d", t.experiment, r.line)
	}
	user := map[string]any{"userID": unit}
	if t.unitType != "" && t.unitType != "userID" {
		user = map[string]any{"customIDs": map[string]string{t.unitType: unit}}
	}
	at := t.started
	if !r.time.IsZero() {
		at = r.time.Add(t.shift)
	}
	out := []fact{{
		ID: t.id(r, "exposure", 0), Experiment: t.experiment, Group: r.group, Reason: "Import", User: user, Time: at.UnixMilli(),
	}}
	for i, v := range r.values {
		m := t.metrics[i]
		if v == nil || m.did && *v == 0 {
			continue
		}
		f := fact{ID: t.id(r, fmt.Sprint(i, m.event, m.before), *v), Event: m.event, User: user, Time: at.UnixMilli(), Value: v}
		if m.before {
			f.Time = at.Add(-beforeExposure).UnixMilli()
		}
		if m.valueKey != "" {
			f.Metadata = map[string]string{m.valueKey: strconv.FormatFloat(*v, 'g', -1, 64)}
		}
		out = append(out, f)
	}
	return out
}

// id names a fact for ever: by its place in the file and what stands there.
func (t *importTarget) id(r row, what string, v float64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %q %q %d %s %x", t.experiment, r.line, r.unit, r.group, r.time.UnixMilli(), what, v))
	return "import:" + hex.EncodeToString(sum[:16])
}
