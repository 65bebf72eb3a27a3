package intake

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// How far a client's clock may be off. A time further ahead is replaced by the
// time of receipt, for no result may have facts of the future. Late facts keep
// their time, and the time of receipt beside it tells how late they were. Only
// a time that long ago is taken for a mistake, such as seconds where there
// should be milliseconds: as a unit's first exposure it would spoil the unit.
const (
	maxAhead  = 5 * time.Minute
	maxBehind = 2 * 365 * 24 * time.Hour
)

// sentTime is the metadata of a fact whose own time could not be used: the time
// that it claimed, in milliseconds.
const sentTime = "sluice.sent_time"

// maxPayload bounds what a dead letter keeps of its entry.
const maxPayload = 4 << 10

// A resolver turns the entries of one delivery into facts, by what the project
// was when they came. It is pure but for the table of names, which only grows.
type resolver struct {
	state    *flags.State
	key      *flags.Key
	names    *names
	delivery *Delivery
	ids      *identifier
	privacy  privacy

	environments []string    // of the key, by name; read once
	scope        flags.Scope // of the key
	foreign      bool        // the entry at hand names something that the key cannot see

	batch    events.Batch
	rejected []Rejection

	// The newest definitions that an entry with an unknown name or rule decided on.
	latest   int64  // by their time
	sequence uint64 // by their version
}

// all resolves every entry.
func (r *resolver) all() {
	r.batch = events.Batch{Project: r.state.Project()}
	r.environments = r.state.EnvironmentsOf(r.key)
	r.scope = r.key.Scope()
	exposures := 0
	for i := range r.delivery.Entries {
		if r.delivery.Entries[i].Kind != Event {
			exposures++
		}
	}
	r.batch.Exposures = make([]events.Exposure, 0, exposures)
	r.batch.Events = make([]events.Event, 0, len(r.delivery.Entries)-exposures)
	for i := range r.delivery.Entries {
		entry := r.delivery.Entries[i] // a copy: a delivery may be resolved again
		r.privacy.apply(&entry)
		at, fault := r.time(&entry)
		if entry.Fault != nil {
			fault = entry.Fault
		}
		id := r.id(&entry, &fault)
		if fault == nil && entry.Kind != Event {
			fault = r.exposure(id, at, &entry)
		} else if fault == nil {
			r.event(id, at, &entry)
		}
		if fault != nil {
			if entry.ID != "" {
				id = r.ids.rejected(entry.ID, fault.Code)
			}
			r.dead(id, &entry, fault)
			r.rejected = append(r.rejected, Rejection{Index: i, Fault: *fault})
		}
	}
}

// id is the id of an entry, which names none that another of its delivery names.
func (r *resolver) id(entry *Entry, fault **Fault) events.FactID {
	if entry.ID == "" {
		return r.ids.of(entry)
	}
	if *fault != nil {
		return events.FactID{} // its dead letter has another
	}
	id, first := r.ids.named(entry.ID)
	if !first {
		*fault = &Fault{Code: "duplicate_id", Detail: "another event of this batch has the same event_id: the first one counts"}
	}
	return id
}

// ahead reports whether definitions that the client has may be on their way here.
// A client whose clock made its times up would wait for nothing.
func (r *resolver) ahead() bool {
	return r.sequence > r.state.Seq() || r.latest > r.state.Time() && r.latest <= r.delivery.Received.Add(maxAhead).UnixMilli()
}

func (r *resolver) received() int64 { return r.delivery.Received.UnixMilli() }

// time decides when an entry happened.
func (r *resolver) time(entry *Entry) (int64, *Fault) {
	now := r.received()
	switch {
	case entry.Time == 0, entry.Time > now+maxAhead.Milliseconds():
		return now, nil
	case entry.Time < now-maxBehind.Milliseconds():
		return 0, &Fault{Code: "time_too_old", Detail: fmt.Sprintf("time is before %s; it counts milliseconds since 1970",
			time.UnixMilli(now).Add(-maxBehind).UTC().Format(time.DateOnly))}
	}
	return entry.Time, nil
}

func (r *resolver) event(id events.FactID, at int64, entry *Entry) {
	e := events.Event{
		ID: id, Time: at, Received: r.received(), Environment: r.environment(entry.User.Tier), Name: entry.Name,
		UnitIDs: entry.User.all(), Value: number(entry.Value), ValueText: entry.Value, Metadata: entry.Metadata,
		SDKType: r.delivery.SDKType, SDKVersion: r.delivery.SDKVersion,
	}
	e.UnitType, e.UnitID = entry.User.primary()
	e.Metadata = with(entry.Metadata, entry.User.attributes(), marks(at, entry))
	r.batch.Events = append(r.batch.Events, e)
}

// marks are what we have to say of an entry.
func marks(at int64, entry *Entry) []events.Pair {
	if entry.Time == 0 || entry.Time == at {
		return nil
	}
	return []events.Pair{{Name: sentTime, Value: strconv.FormatInt(entry.Time, 10)}}
}

// with returns pairs and more, ascending by name. Of two of a name, ours counts:
// what a client says does not stand for what its project keeps, or for a mark.
func with(pairs []events.Pair, ours ...[]events.Pair) []events.Pair {
	for _, more := range ours {
		if len(more) == 0 {
			continue
		}
		pairs = append(slices.Clone(more), pairs...)
		slices.SortStableFunc(pairs, func(a, b events.Pair) int { return strings.Compare(a.Name, b.Name) })
		pairs = slices.CompactFunc(pairs, func(a, b events.Pair) bool { return a.Name == b.Name })
	}
	return pairs
}

// number reads a value that is a number, or the text of one.
func number(text string) *float64 {
	if text == "" || len(text) > 64 {
		return nil
	}
	if c := text[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') {
		return nil // ParseFloat also knows "inf" and "nan"
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(text, "xX_") {
		return nil
	}
	return &f
}

// exposure adds an exposure, unless it is not the key's to tell.
func (r *resolver) exposure(id events.FactID, at int64, entry *Entry) *Fault {
	e := events.Exposure{
		ID: id, Time: at, Received: r.received(), Environment: r.environment(entry.User.Tier),
		Name: entry.Name, RuleID: entry.RuleID, Group: events.NoGroup, Value: entry.Value, Reason: entry.Reason,
		SDKType: r.delivery.SDKType, SDKVersion: r.delivery.SDKVersion,
		Metadata: with(entry.Metadata, entry.User.attributes(), marks(at, entry)),
	}
	if entry.Sequence <= r.state.Seq() {
		e.Sequence = entry.Sequence
	}
	if entry.ConfigTime != 0 && entry.ConfigTime == r.state.Time() {
		e.Sequence = r.state.Seq()
	}
	var unitType string
	var known bool
	r.foreign = false
	switch entry.Kind {
	case Gate:
		unitType, known = r.gate(&e)
	case Config:
		unitType, known = r.config(&e, entry.Group)
	case Layer:
		e.Parameter = entry.Parameter
		unitType, known = r.layer(&e, entry.Experiment)
	}
	if r.foreign {
		return &Fault{Code: "out_of_scope", Detail: "the key is not for apps that see what was decided: send it with a key that is"}
	}
	if !known {
		r.latest, r.sequence = max(r.latest, entry.ConfigTime), max(r.sequence, entry.Sequence)
	}
	if unitType == "" {
		e.UnitType, e.UnitID = entry.User.primary()
	} else {
		e.UnitType, e.UnitID = unitType, entry.User.id(unitType)
	}
	if e.UnitID == "" {
		e.Group = events.NoGroup // nobody was exposed: no result may count it as somebody
	}
	r.batch.Exposures = append(r.batch.Exposures, e)
	return nil
}

// find returns a live entity by its name, case and all, or by a hash of it.
func find[D flags.Document](r *resolver, kind flags.Kind, name string) (doc D, ok bool) {
	e, found := r.state.ByName(kind, name)
	if !found || e.Name != name { // it is a hash, or nobody's
		name = r.names.original(r.state, name)
		e, found = r.state.ByName(kind, name)
	}
	if !found || e.Name != name {
		return doc, false
	}
	r.foreign = r.foreign || !r.scope.Sees(r.state, e)
	doc, ok = e.Doc.(D)
	return doc, ok
}

// gate completes the exposure of a gate, a holdout or a segment. known is
// false if the project has no such name or rule.
func (r *resolver) gate(e *events.Exposure) (unitType string, known bool) {
	e.Kind = events.ExposureGate
	e.Override = strings.HasSuffix(e.RuleID, ":override")
	if g, ok := find[*flags.Gate](r, flags.KindGate, e.Name); ok {
		e.Name = g.Name
		return g.UnitType, true
	}
	if h, ok := find[*flags.Holdout](r, flags.KindHoldout, e.Name); ok {
		e.Name = h.Name
		return h.UnitType, true
	}
	return "", false
}

// config completes the exposure of a dynamic config or an experiment.
func (r *resolver) config(e *events.Exposure, group string) (unitType string, known bool) {
	if x, ok := find[*flags.Experiment](r, flags.KindExperiment, e.Name); ok {
		e.Kind = events.ExposureExperiment
		return x.UnitType, r.experiment(e, x, group)
	}
	e.Kind = events.ExposureConfig
	e.Override = strings.HasSuffix(e.RuleID, "override")
	if c, ok := find[*flags.Config](r, flags.KindConfig, e.Name); ok {
		e.Name = c.Name
		return c.UnitType, true
	}
	return "", false
}

// layer completes the exposure of a layer's parameter: of the experiment that
// set it, if one did, else of the layer itself.
func (r *resolver) layer(e *events.Exposure, experiment string) (unitType string, known bool) {
	e.Kind = events.ExposureLayer
	l, ok := find[*flags.Layer](r, flags.KindLayer, e.Name)
	if ok {
		e.Name, unitType = l.Name, l.UnitType
	}
	e.Layer = e.Name
	if experiment == "" {
		return unitType, ok
	}
	if x, ok := find[*flags.Experiment](r, flags.KindExperiment, experiment); ok {
		return x.UnitType, r.experiment(e, x, "")
	}
	e.Name = experiment
	return unitType, false
}

// experiment completes the exposure of an experiment: which group the rule, or
// the client, says that the unit was in. known is false if it said a rule or a
// group that the experiment does not have.
func (r *resolver) experiment(e *events.Exposure, x *flags.Experiment, group string) (known bool) {
	e.Name = x.Name
	if index, override, ok := x.Arm(e.RuleID); ok {
		e.Override = override
		r.group(e, x, index)
		return true
	}
	for i := range x.Groups {
		if group != "" && (x.Groups[i].Name == group || x.Groups[i].ID == group) {
			r.group(e, x, i)
			e.RuleID = cmp.Or(e.RuleID, x.Groups[i].ID)
			return true
		}
	}
	e.Value = cmp.Or(e.Value, group)
	return group == "" && settled[e.RuleID]
}

// settled are the rules that put a unit into no group, in every experiment.
// Others that name no group may be a holdout's, or of a newer state than ours.
var settled = map[string]bool{
	"": true, "default": true, "disabled": true, "prestart": true,
	"targetingGate": true, "inlineTargetingRules": true, "layerAssignment": true,
}

func (r *resolver) group(e *events.Exposure, x *flags.Experiment, index int) {
	if index >= 0 && index < events.NoGroup && index < len(x.Groups) {
		e.Group, e.Value = uint8(index), x.Groups[index].Name
	}
}

// environment decides which environment an entry belongs to.
func (r *resolver) environment(tier string) string { return flags.EnvironmentOf(r.environments, tier) }

func (r *resolver) dead(id events.FactID, entry *Entry, fault *Fault) {
	kind := [...]string{Event: "event", Gate: "gate exposure", Config: "config exposure", Layer: "layer exposure"}[entry.Kind]
	payload, err := json.Marshal(struct {
		Kind     string            `json:"kind"`
		EventID  string            `json:"event_id,omitempty"`
		Name     string            `json:"name,omitempty"`
		Time     int64             `json:"time,omitempty"`
		Value    string            `json:"value,omitempty"`
		RuleID   string            `json:"ruleID,omitempty"`
		Metadata map[string]string `json:"metadata,omitempty"`
	}{kind, entry.ID, entry.Name, entry.Time, entry.Value, entry.RuleID, asMap(entry.Metadata)})
	if err != nil || len(payload) > maxPayload {
		payload, _ = json.Marshal(map[string]string{"kind": kind, "event_id": entry.ID, "name": entry.Name}) // texts only: never fails
	}
	r.batch.Dead = append(r.batch.Dead, events.DeadLetter{
		ID: id, Received: r.received(), Reason: fault.Code, Detail: fault.Detail, Payload: string(payload),
	})
}

func asMap(ps []events.Pair) map[string]string {
	m := make(map[string]string, len(ps))
	for _, p := range ps {
		m[p.Name] = p.Value
	}
	return m
}

// userID is the unit type of a user's own id.
const userID = "userID"

// id returns the user's id of a unit type, as the evaluator finds it.
func (u *User) id(unitType string) string {
	if strings.EqualFold(unitType, userID) {
		return u.ID
	}
	lower := strings.ToLower(unitType)
	second := ""
	for _, p := range u.Others {
		switch p.Name {
		case unitType:
			return p.Value
		case lower:
			second = p.Value
		}
	}
	return second
}

// primary is the unit that an event is counted by when nothing else says.
func (u *User) primary() (unitType, id string) {
	if u.ID != "" {
		return userID, u.ID
	}
	if id := u.id("stableID"); id != "" {
		return "stableID", id
	}
	if len(u.Others) > 0 {
		return u.Others[0].Name, u.Others[0].Value
	}
	return userID, ""
}

// all returns every id of the user, ascending by type.
func (u *User) all() []events.Pair {
	if u.ID == "" {
		return u.Others
	}
	ids := make([]events.Pair, 0, len(u.Others)+1)
	for _, p := range u.Others {
		if p.Name != userID {
			ids = append(ids, p)
		}
	}
	ids = append(ids, events.Pair{Name: userID, Value: u.ID})
	events.SortPairs(ids)
	return ids
}
