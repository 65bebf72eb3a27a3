package results

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestStepsOfAGateBeginAndEndWithItsChanges(t *testing.T) {
	begun := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	changed, later := begun.Add(time.Hour), begun.Add(2*time.Hour)
	version := func(at time.Time, change func(*flags.Gate)) flags.Entity {
		doc := &flags.Gate{ID: "gate_1", Name: "footer", Status: flags.StatusInProgress, UnitType: "userID", Rules: []flags.Rule{
			{ID: "staff", PassPercentage: 100}, {ID: "some", PassPercentage: 25, Step: 1},
		}}
		change(doc)
		return flags.Entity{Ref: doc.Ref(), Name: doc.Name, Doc: doc, Time: at.UnixMilli()}
	}
	as := func(*flags.Gate) {}
	for _, test := range []struct {
		name   string
		change func(*flags.Gate)
		ends   bool
	}{
		{"launched", func(d *flags.Gate) { d.Status = flags.StatusLaunched }, true},
		{"disabled", func(d *flags.Gate) { d.Status = flags.StatusDisabled }, true},
		{"archived", func(d *flags.Gate) { d.Status = flags.StatusArchived }, true},
		{"killed where facts are analysed", func(d *flags.Gate) { d.OffIn = []string{"production"} }, true},
		{"killed elsewhere", func(d *flags.Gate) { d.OffIn = []string{"staging"} }, false},
		{"the rule is gone", func(d *flags.Gate) { d.Rules = d.Rules[:1] }, true},
		{"the rule is disabled", func(d *flags.Gate) { d.Rules[1].Disabled = true }, true},
		{"the rule is for elsewhere", func(d *flags.Gate) { d.Rules[1].Environments = []string{"staging"} }, true},
		{"everybody passes", func(d *flags.Gate) { d.Rules[1].PassPercentage, d.Rules[1].Step = 100, 2 }, true},
		{"nobody passes", func(d *flags.Gate) { d.Rules[1].PassPercentage, d.Rules[1].Step = 0, 2 }, true},
		{"units are drawn anew", func(d *flags.Gate) { d.Rules[1].Salt = "other" }, false}, // it begins again
		{"other conditions", func(d *flags.Gate) { d.Rules[1].Conditions = []flags.Condition{{Type: "country"}} }, false},
		{"other overrides", func(d *flags.Gate) { d.Overrides = map[string]flags.Overrides{"userID": {Pass: []string{"a"}}} }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			versions := []flags.Entity{version(begun, as), version(changed, test.change)}
			find := func() gateStep {
				steps, err := gateSteps(func(yield func(flags.Entity, error) bool) {
					for _, v := range versions {
						if !yield(v, nil) {
							return
						}
					}
				}, func(environment string) bool { return environment == flags.Production })
				i := slices.IndexFunc(steps, func(s gateStep) bool { return s.ruleID == "some:25.00:1" })
				if err != nil || i < 0 {
					t.Fatalf("gateSteps() = %+v, %v; want the step some:25.00:1", steps, err)
				}
				return steps[i]
			}
			start, end := begun, "never"
			if test.ends {
				end = changed.String()
			}
			if test.name == "units are drawn anew" {
				start = changed
			}
			got := find()
			said := "never"
			if got.end != nil {
				said = got.end.String()
			}
			if !got.start.Equal(start) || said != end {
				t.Errorf("the step runs from %v to %s; want from %v to %s", got.start, said, start, end)
			}
			if !test.ends {
				return
			}
			// Who turns it on again begins anew.
			versions = append(versions, version(later, as))
			if got := find(); !got.start.Equal(later) || got.end != nil {
				t.Errorf("the step that begins again runs from %v to %v; want from %v to no end", got.start, got.end, later)
			}
		})
	}
}
