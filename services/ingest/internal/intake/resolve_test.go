package intake

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

var received = time.UnixMilli(1_790_000_000_000)

// shop is a project with one of each thing that can be exposed.
func shop() *flags.State {
	s := flags.NewState("shop")
	for i, d := range []flags.Document{
		&flags.Environment{ID: "env_p", Name: "production"},
		&flags.Environment{ID: "env_s", Name: "staging"},
		&flags.Gate{ID: "gate_1", Name: "new_checkout", UnitType: "userID"},
		&flags.Gate{ID: "gate_2", Name: "Company Gate", UnitType: "companyID"},
		&flags.Holdout{ID: "hold_1", Name: "h1", UnitType: "userID"},
		&flags.Config{ID: "cfg_1", Name: "prices", UnitType: "stableID"},
		&flags.Layer{ID: "lay_1", Name: "checkout", UnitType: "userID"},
		&flags.Experiment{ID: "exp_1", Name: "free_shipping", UnitType: "userID", Groups: []flags.Group{
			{ID: "grp_a", Name: "Control"}, {ID: "grp_b", Name: "Half"}, {ID: "grp_c", Name: "Full"}}},
	} {
		n := uint64(i + 1)
		s = s.Put(flags.Entity{Ref: d.Ref(), Name: d.DocName(), Doc: d, Raw: json.RawMessage(`{}`), Version: 1, Seq: n, Time: int64(1000 * n), Created: 1})
	}
	return s
}

func resolveAll(s *flags.State, key *flags.Key, d Delivery) *resolver {
	d.Received = received
	r := &resolver{state: s, key: key, names: new(names), delivery: &d,
		ids: newIdentifier(s.Project(), "key", &d, []byte("salt")), privacy: privacy{project: s.Settings()}}
	r.all()
	return r
}

var ada = User{ID: "ada", Others: []events.Pair{{Name: "companyID", Value: "acme"}, {Name: "stableID", Value: "st"}}}

func TestExposuresSayWhatWasDecidedForWhom(t *testing.T) {
	at := received.UnixMilli() - 5000
	for name, test := range map[string]struct {
		entry Entry
		want  events.Exposure
	}{
		"a gate": {
			Entry{Kind: Gate, Name: "new_checkout", Value: "true", RuleID: "rule_1:50.00:2", Reason: "Network"},
			events.Exposure{Kind: "gate", Name: "new_checkout", Value: "true", RuleID: "rule_1:50.00:2", Reason: "Network", UnitType: "userID", UnitID: "ada"},
		},
		"a gate by override": {
			Entry{Kind: Gate, Name: "new_checkout", Value: "false", RuleID: "gate_1:override"},
			events.Exposure{Kind: "gate", Name: "new_checkout", Value: "false", RuleID: "gate_1:override", Override: true, UnitType: "userID", UnitID: "ada"},
		},
		"a gate on a custom unit": {
			Entry{Kind: Gate, Name: "Company Gate", Value: "true"},
			events.Exposure{Kind: "gate", Name: "Company Gate", Value: "true", UnitType: "companyID", UnitID: "acme"},
		},
		"a gate in another case is another name to SDKs": {
			Entry{Kind: Gate, Name: "company gate", Value: "false"},
			events.Exposure{Kind: "gate", Name: "company gate", Value: "false", UnitType: "userID", UnitID: "ada"},
		},
		"a holdout, which SDKs call a gate": {
			Entry{Kind: Gate, Name: "h1", Value: "false"},
			events.Exposure{Kind: "gate", Name: "h1", Value: "false", UnitType: "userID", UnitID: "ada"},
		},
		"a dynamic config": {
			Entry{Kind: Config, Name: "prices", RuleID: "default", Value: "false"},
			events.Exposure{Kind: "config", Name: "prices", RuleID: "default", Value: "false", UnitType: "stableID", UnitID: "st"},
		},
		"an experiment's group": {
			Entry{Kind: Config, Name: "free_shipping", RuleID: "grp_b"},
			events.Exposure{Kind: "experiment", Name: "free_shipping", RuleID: "grp_b", Group: 1, Value: "Half", UnitType: "userID", UnitID: "ada"},
		},
		"an experiment's group by override": {
			Entry{Kind: Config, Name: "free_shipping", RuleID: "grp_c:userID:id_override"},
			events.Exposure{Kind: "experiment", Name: "free_shipping", RuleID: "grp_c:userID:id_override", Group: 2, Override: true, Value: "Full", UnitType: "userID", UnitID: "ada"},
		},
		"an experiment that did not take the unit": {
			Entry{Kind: Config, Name: "free_shipping", RuleID: "layerAssignment"},
			events.Exposure{Kind: "experiment", Name: "free_shipping", RuleID: "layerAssignment", Group: events.NoGroup, UnitType: "userID", UnitID: "ada"},
		},
		"a group that the client names": {
			Entry{Kind: Config, Name: "free_shipping", Group: "Full"},
			events.Exposure{Kind: "experiment", Name: "free_shipping", RuleID: "grp_c", Group: 2, Value: "Full", UnitType: "userID", UnitID: "ada"},
		},
		"a group that nobody knows": {
			Entry{Kind: Config, Name: "free_shipping", Group: "Fuller"},
			events.Exposure{Kind: "experiment", Name: "free_shipping", Group: events.NoGroup, Value: "Fuller", UnitType: "userID", UnitID: "ada"},
		},
		"an experiment through its layer, hashed as djb2": {
			Entry{Kind: Layer, Name: "checkout", Experiment: eval.HashName(eval.HashDJB2, "free_shipping"), Parameter: "threshold", RuleID: "grp_a"},
			events.Exposure{Kind: "layer", Name: "free_shipping", Layer: "checkout", Parameter: "threshold", RuleID: "grp_a", Group: 0, Value: "Control", UnitType: "userID", UnitID: "ada"},
		},
		"an experiment through its layer, hashed as sha256": {
			Entry{Kind: Layer, Name: eval.HashName(eval.HashSHA256, "checkout"), Experiment: eval.HashName(eval.HashSHA256, "free_shipping"), Parameter: "threshold", RuleID: "grp_c"},
			events.Exposure{Kind: "layer", Name: "free_shipping", Layer: "checkout", Parameter: "threshold", RuleID: "grp_c", Group: 2, Value: "Full", UnitType: "userID", UnitID: "ada"},
		},
		"a layer without an experiment": {
			Entry{Kind: Layer, Name: "checkout", Parameter: "threshold", RuleID: "default"},
			events.Exposure{Kind: "layer", Name: "checkout", Layer: "checkout", Parameter: "threshold", RuleID: "default", Group: events.NoGroup, UnitType: "userID", UnitID: "ada"},
		},
		"something that nobody defined": {
			Entry{Kind: Config, Name: "ghost", RuleID: ""},
			events.Exposure{Kind: "config", Name: "ghost", Group: events.NoGroup, UnitType: "userID", UnitID: "ada"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.entry
			c.Time, c.User = at, ada
			want := test.want
			want.Time, want.Received, want.Environment = at, received.UnixMilli(), "production"
			want.SDKType, want.SDKVersion = "go-sdk", "v1"
			if want.Kind == "gate" || want.Kind == "config" {
				want.Group = events.NoGroup
			}
			r := resolveAll(shop(), &flags.Key{}, Delivery{SDKType: "go-sdk", SDKVersion: "v1", Entries: []Entry{c}})
			if diff := cmp.Diff([]events.Exposure{want}, r.batch.Exposures, cmpopts.IgnoreFields(events.Exposure{}, "ID")); diff != "" {
				t.Errorf("%+v gives (-want +got):\n%s", c, diff)
			}
		})
	}
}

func TestAnExposureOfNobodyIsInNoGroup(t *testing.T) {
	r := resolveAll(shop(), &flags.Key{}, Delivery{Entries: []Entry{{Kind: Config, Name: "free_shipping", RuleID: "grp_b", User: User{Others: ada.Others}}}})
	if e := r.batch.Exposures[0]; e.Group != events.NoGroup || e.UnitType != "userID" || e.UnitID != "" {
		t.Errorf("an exposure without the experiment's unit has group %d, unit %s %q; want none", e.Group, e.UnitType, e.UnitID)
	}
}

func TestTheSequenceIsKnownWhenTheClientDecidedOnOurState(t *testing.T) {
	s := shop()
	for configTime, want := range map[int64]uint64{s.Time(): s.Seq(), s.Time() - 1: 0, 0: 0} {
		r := resolveAll(s, &flags.Key{}, Delivery{Entries: []Entry{{Kind: Gate, Name: "new_checkout", ConfigTime: configTime}}})
		if got := r.batch.Exposures[0].Sequence; got != want {
			t.Errorf("config time %d gives sequence %d, want %d", configTime, got, want)
		}
	}
}

func TestOnlyUnknownNamesAndRulesAreWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		entry Entry
		want  int64
	}{
		"known gate":           {Entry{Kind: Gate, Name: "new_checkout", RuleID: "whatever"}, 0},
		"unknown gate":         {Entry{Kind: Gate, Name: "newer"}, 99},
		"known group":          {Entry{Kind: Config, Name: "free_shipping", RuleID: "grp_a"}, 0},
		"outside the groups":   {Entry{Kind: Config, Name: "free_shipping", RuleID: "targetingGate"}, 0},
		"unknown rule":         {Entry{Kind: Config, Name: "free_shipping", RuleID: "grp_d"}, 99},
		"unknown experiment":   {Entry{Kind: Layer, Name: "checkout", Experiment: "newer"}, 99},
		"unknown layer":        {Entry{Kind: Layer, Name: "newer"}, 99},
		"an event of any name": {Entry{Kind: Event, Name: "newer"}, 0},
	} {
		test.entry.ConfigTime = 99
		if got := resolveAll(shop(), &flags.Key{}, Delivery{Entries: []Entry{test.entry}}).latest; got != test.want {
			t.Errorf("%s: waits for definitions of time %d, want %d", name, got, test.want)
		}
	}
}

func TestEventsKeepTheirUnitsValueAndMetadata(t *testing.T) {
	meta := []events.Pair{{Name: "a", Value: "1"}}
	r := resolveAll(shop(), &flags.Key{}, Delivery{SDKType: "node", Entries: []Entry{
		{Name: "purchase", Time: received.UnixMilli(), User: ada, Value: "12.50", Metadata: meta},
		{Name: "look", User: User{Others: ada.Others}, Value: "far"},
		{Name: "look", User: User{Others: ada.Others[:1]}},
		{Name: "tick"},
	}})
	base := events.Event{Time: received.UnixMilli(), Received: received.UnixMilli(), Environment: "production", SDKType: "node"}
	want := []events.Event{base, base, base, base}
	want[0].Name, want[0].UnitType, want[0].UnitID, want[0].Value, want[0].ValueText, want[0].Metadata = "purchase", "userID", "ada", new(12.5), "12.50", meta
	want[0].UnitIDs = []events.Pair{{Name: "companyID", Value: "acme"}, {Name: "stableID", Value: "st"}, {Name: "userID", Value: "ada"}}
	want[1].Name, want[1].UnitType, want[1].UnitID, want[1].UnitIDs, want[1].ValueText = "look", "stableID", "st", ada.Others, "far"
	want[2].Name, want[2].UnitType, want[2].UnitID, want[2].UnitIDs = "look", "companyID", "acme", ada.Others[:1]
	want[3].Name, want[3].UnitType = "tick", "userID"
	if diff := cmp.Diff(want, r.batch.Events, cmpopts.IgnoreFields(events.Event{}, "ID"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

func TestOnlyNumbersAreNumbers(t *testing.T) {
	for text, want := range map[string]*float64{
		"": nil, "12": new(12.0), "-1.5e3": new(-1500.0), ".5": new(0.5), "0": new(0.0),
		"abc": nil, "NaN": nil, "Infinity": nil, "-inf": nil, "1e999": nil, "0x10": nil, "1_000": nil, "12 ": nil, "true": nil, strings.Repeat("1", 65): nil,
	} {
		if diff := cmp.Diff(want, number(text)); diff != "" {
			t.Errorf("number(%q) differs (-want +got):\n%s", text, diff)
		}
	}
}

func TestTimesThatCannotBeAreMarked(t *testing.T) {
	now := received.UnixMilli()
	day := int64(24 * time.Hour / time.Millisecond)
	for name, test := range map[string]struct {
		sent, want int64
		sentTime   string
		dead       bool
	}{
		"none":                {0, now, "", false},
		"now":                 {now, now, "", false},
		"a clock a bit ahead": {now + 60_000, now + 60_000, "", false},
		"tomorrow":            {now + day, now, fmt.Sprint(now + day), false},
		"the end of time":     {1<<62 - 1, now, fmt.Sprint(int64(1<<62 - 1)), false},
		"a month late":        {now - 30*day, now - 30*day, "", false},
		"seconds, not millis": {now / 1000, 0, "", true},
		"before time itself":  {-1 << 62, 0, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := resolveAll(shop(), &flags.Key{}, Delivery{Entries: []Entry{{Name: "e", Time: test.sent, User: ada}}})
			if test.dead {
				if len(r.batch.Dead) != 1 || r.batch.Dead[0].Reason != "time_too_old" {
					t.Errorf("time %d gives %+v, want a dead letter time_too_old", test.sent, r.batch)
				}
				return
			}
			e := r.batch.Events[0]
			if e.Time != test.want || asMap(e.Metadata)[sentTime] != test.sentTime {
				t.Errorf("time %d is stored as %d, marked %v; want %d, %q", test.sent, e.Time, e.Metadata, test.want, test.sentTime)
			}
		})
	}
}

func TestABadClaimIsADeadLetterAmongGoodNeighbours(t *testing.T) {
	r := resolveAll(shop(), &flags.Key{}, Delivery{Entries: []Entry{
		{Name: "good", User: ada},
		{Name: "bad", User: ada, Value: "5", Metadata: []events.Pair{{Name: "k", Value: "v"}}, Fault: &Fault{Code: "bad_time", Detail: "time is not a time"}},
		{Kind: Gate, Name: "new_checkout", User: ada},
	}})
	if len(r.batch.Events) != 1 || len(r.batch.Exposures) != 1 || len(r.batch.Dead) != 1 {
		t.Fatalf("two good entries and a bad one give %+v", r.batch)
	}
	want := events.DeadLetter{Received: received.UnixMilli(), Reason: "bad_time", Detail: "time is not a time",
		Payload: `{"kind":"event","name":"bad","value":"5","metadata":{"k":"v"}}`}
	if diff := cmp.Diff(want, r.batch.Dead[0], cmpopts.IgnoreFields(events.DeadLetter{}, "ID")); diff != "" {
		t.Errorf("the dead letter differs (-want +got):\n%s", diff)
	}
}

func TestTheEnvironmentIsOneOfTheKeys(t *testing.T) {
	for name, test := range map[string]struct {
		of   []string
		tier string
		want string
	}{
		"all environments, none said":     {nil, "", "production"},
		"all environments, one said":      {nil, "staging", "staging"},
		"case does not matter":            {nil, "Staging", "staging"},
		"one that is not there":           {nil, "moon", "production"},
		"the key has one":                 {[]string{"staging"}, "", "staging"},
		"the key has one, another said":   {[]string{"staging"}, "production", "staging"},
		"the key names it by id":          {[]string{"env_s"}, "", "staging"},
		"the key's environments are gone": {[]string{"gone"}, "", "production"},
	} {
		r := resolveAll(shop(), &flags.Key{Environments: test.of}, Delivery{Entries: []Entry{{Name: "e", User: User{ID: "a", Tier: test.tier}}}})
		if got := r.batch.Events[0].Environment; got != test.want {
			t.Errorf("%s: environment %q, want %q", name, got, test.want)
		}
	}
}

func TestTheSameContentHasTheSameID(t *testing.T) {
	entry := Entry{Name: "e", Time: 5, User: ada, Value: "1", Metadata: []events.Pair{{Name: "k", Value: "v"}}}
	first := newIdentifier("shop", "key", &Delivery{SessionID: "session"}, []byte("one")).of(&entry)
	if again := newIdentifier("shop", "key", &Delivery{SessionID: "session"}, []byte("two")).of(&entry); again != first {
		t.Errorf("the same entry, sent again, has id %x, want %x", again, first)
	}

	others := map[string]events.FactID{
		"another key":     newIdentifier("shop", "other", &Delivery{SessionID: "session"}, nil).of(&entry),
		"another session": newIdentifier("shop", "key", &Delivery{SessionID: "other"}, nil).of(&entry),
	}
	for name, edit := range map[string]func(*Entry){
		"kind": func(c *Entry) { c.Kind = Gate }, "name": func(c *Entry) { c.Name = "f" }, "time": func(c *Entry) { c.Time = 6 },
		"user": func(c *Entry) { c.User = User{ID: "bob"} }, "value": func(c *Entry) { c.Value = "2" }, "metadata": func(c *Entry) { c.Metadata = nil },
		"rule": func(c *Entry) { c.RuleID = "r" }, "experiment": func(c *Entry) { c.Experiment = "x" }, "parameter": func(c *Entry) { c.Parameter = "p" },
		"group": func(c *Entry) { c.Group = "g" }, "fault": func(c *Entry) { c.Fault = &Fault{Code: "f"} },
	} {
		c := entry
		edit(&c)
		others["another "+name] = newIdentifier("shop", "key", &Delivery{SessionID: "session"}, nil).of(&c)
	}
	seen := map[events.FactID]string{first: "the first"}
	for name, id := range others {
		if twin, taken := seen[id]; taken {
			t.Errorf("%s has the id of %s", name, twin)
		}
		seen[id] = name
	}
}

func TestTwinsInOneBodyAreTwo(t *testing.T) {
	entries := []Entry{{Name: "e", Time: 5}, {Name: "e", Time: 5}, {Name: "f", Time: 5}, {Name: "e", Time: 5}}
	ids := func() (ids []events.FactID) {
		id := newIdentifier("shop", "key", &Delivery{SessionID: "s"}, nil)
		for i := range entries {
			ids = append(ids, id.of(&entries[i]))
		}
		return ids
	}
	first, again := ids(), ids()
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("a retry of twins has other ids:\n%s", diff)
	}
	if first[0] == first[1] || first[1] == first[3] || first[0] == first[3] {
		t.Errorf("twins share ids: %x", first)
	}
}

func TestAnEventWithoutATimeIsNewEveryTime(t *testing.T) {
	c := Entry{Name: "e"}
	if one, two := newIdentifier("shop", "key", &Delivery{SessionID: "s"}, []byte("1")).of(&c), newIdentifier("shop", "key", &Delivery{SessionID: "s"}, []byte("2")).of(&c); one == two {
		t.Error("two deliveries of an event without a time share an id: the second would be lost")
	}
}

func BenchmarkResolve(b *testing.B) {
	s, key := shop(), &flags.Key{}
	d := Delivery{SDKType: "go-sdk", SDKVersion: "v1", Received: received}
	for i := range 50 {
		d.Entries = append(d.Entries, Entry{Kind: Config, Name: "free_shipping", RuleID: "grp_b", Time: received.UnixMilli() + int64(i), User: ada})
	}
	table := new(names)
	b.ReportAllocs()
	for b.Loop() {
		r := resolver{state: s, key: key, names: table, delivery: &d, privacy: privacy{project: s.Settings()}, ids: newIdentifier("shop", "key", &Delivery{SessionID: "s"}, nil)}
		r.all()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(d.Entries)), "ns/entry")
}
