package results

import (
	"slices"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// Checks say whether the groups can be compared at all.
type Checks struct {
	SRM stats.SRMResult `json:"srm"`
	// Exclusions test, by reason, whether units were left out of one group more
	// often than of another.
	Exclusions map[string]stats.RateCheck `json:"exclusions"`
	// Crossovers tests the same of units that saw another group later and stayed in
	// their first; absent where the experiment leaves them out.
	Crossovers *stats.RateCheck `json:"crossovers,omitempty"`
	// Warnings are the codes of what a reader must not overlook.
	Warnings []Warning `json:"warnings"`
	// Periods are the stretches between changes of the allocation, each with its
	// own split; absent where it never changed.
	Periods []PeriodCheck `json:"periods,omitempty"`
}

// A Warning names a reason to distrust a report.
type Warning string

// The warnings.
const (
	WarnSRM        Warning = "SAMPLE_RATIO_MISMATCH" // groups do not have the sizes of their shares
	WarnCrossover  Warning = "CROSSOVERS"            // more than one percent of the units saw two groups
	WarnExclusions Warning = "UNEVEN_EXCLUSIONS"     // one group lost more units than another
	WarnUneven     Warning = "UNEVEN_CROSSOVERS"     // more units of one group saw another one later
)

const (
	manyCrossovers = 0.01  // share of the exposed units
	unevenLevel    = 0.001 // of the test of exclusions
)

// A PeriodCheck is the split of the units that entered during a period.
type PeriodCheck struct {
	Period
	Units []uint64        `json:"units"` // by group
	SRM   stats.SRMResult `json:"srm"`
	// Metrics compare these units alone. Shares stay while an experiment runs, so the
	// report's comparison over all periods is sound: these show whether it lasts.
	Metrics []Metric `json:"metrics"`
}

// newChecks tests the groups. Where the allocation changed on the way, each
// period is tested by itself and their evidence is put together.
func newChecks(groups []Group, excluded map[string]uint64, periods []Period, f facts) Checks {
	units, shares := make([]uint64, len(groups)), make([]float64, len(groups))
	var exposed uint64
	for i, g := range groups {
		units[i], shares[i] = g.Units, g.Share
		exposed += g.Exposed
	}
	c := Checks{SRM: stats.SRM(units, shares), Exclusions: map[string]stats.RateCheck{}, Warnings: []Warning{}}
	if len(periods) > 1 {
		tested := make([]stats.Period, len(periods))
		c.Periods = make([]PeriodCheck, len(periods))
		for i, p := range periods {
			tested[i] = stats.Period{Observed: make([]uint64, len(groups)), Weights: shares}
			c.Periods[i].Period, c.Periods[i].Metrics = p, []Metric{}
		}
		for i := range tested {
			if f.periods == nil || i >= len(f.periods.slices) {
				continue
			}
			for _, u := range f.periods.slices[i].units {
				if u.excluded == reasonKept && int(u.group) < len(groups) {
					tested[i].Observed[u.group] += u.units
				}
			}
		}
		for i := range tested {
			c.Periods[i].Units, c.Periods[i].SRM = tested[i].Observed, stats.SRM(tested[i].Observed, shares)
		}
		// A period of a few units cannot be tested; all of them together still can.
		if over := stats.SRMOver(tested); over.Code == stats.OK {
			c.SRM = over
		}
	}
	for reason := range excluded {
		arms := make([]stats.Proportion, len(groups))
		for i, g := range groups {
			arms[i] = stats.Proportion{N: g.Exposed, Successes: g.Excluded[reason]}
		}
		c.Exclusions[reason] = stats.CompareRates(arms)
	}
	crossed := excluded[reasonCrossover]
	if f.crossed != nil {
		arms := make([]stats.Proportion, len(groups))
		for i, g := range groups {
			arms[i] = stats.Proportion{N: g.Units, Successes: min(f.crossed[i], g.Units)}
			crossed += f.crossed[i]
		}
		c.Crossovers = new(stats.CompareRates(arms))
	}
	if c.SRM.Verdict == stats.Alert {
		c.Warnings = append(c.Warnings, WarnSRM)
	}
	if float64(crossed) > manyCrossovers*float64(exposed) {
		c.Warnings = append(c.Warnings, WarnCrossover)
	}
	for _, check := range c.Exclusions {
		if p, ok := check.PValue.Get(); ok && p < unevenLevel && !slices.Contains(c.Warnings, WarnExclusions) {
			c.Warnings = append(c.Warnings, WarnExclusions)
		}
	}
	if c.Crossovers != nil && c.Crossovers.PValue.Or(1) < unevenLevel {
		c.Warnings = append(c.Warnings, WarnUneven)
	}
	return c
}

const reasonCrossover = "crossover"
