package results

import (
	"cmp"
	"time"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// A Method is the manner in which a report decides. Every report carries all
// readings of the same moments; the method says which of them the corrected
// numbers and the decisions are.
type Method string

// The methods.
const (
	Fixed      Method = "fixed"      // one look, at an end chosen beforehand
	Sequential Method = "sequential" // a look on any day
	Bayesian   Method = "bayesian"   // how likely it is to be better
)

// Options say how a report is to be read. The zero value works: one two-sided
// look at five percent, each metric by itself, adjusted by covariates.
type Options struct {
	Method     Method
	Alpha      float64 // of the tests, and one minus the level of the intervals
	Tail       stats.Tail
	Correction stats.Correction // over all metrics and treatment groups
	// Raw leaves covariates unused: the comparison shown is the unadjusted one.
	Raw bool
	// TuningUnits is where a confidence sequence is tightest.
	TuningUnits float64
	// Prior is what was believed about lifts beforehand, for the Bayesian reading.
	Prior stats.Prior
	// Periods are the stretches of the experiment during which its allocation
	// stayed the same; none means that it never changed.
	Periods []Period
	// By breaks the report down by a dimension that [ParseDimension] returned, with
	// slices of their own for the Top most frequent values (10 if zero).
	By  string
	Top int
	// Topline counts the metrics over everybody, for the impact to be relative to.
	Topline bool
}

// A Period is a stretch of an experiment during which as large a part of the
// units took part.
type Period struct {
	From       time.Time `json:"from"`
	Allocation float64   `json:"allocation"` // percentage of the units that may take part
	Sequence   uint64    `json:"sequence"`   // version of the project that began it
}

func (o Options) withDefaults() Options {
	o.Method = cmp.Or(o.Method, Fixed)
	o.Alpha = cmp.Or(o.Alpha, stats.DefaultAlpha)
	o.Top = cmp.Or(o.Top, 10)
	o.Correction = cmp.Or(o.Correction, stats.Uncorrected)
	return o
}

// slicings are what the options ask for beside the whole.
func (o Options) slicings() (by, periods *slicing) {
	if o.By != "" {
		by = &slicing{dimension: o.By, top: o.Top}
	}
	if len(o.Periods) > 1 {
		periods = &slicing{}
		for _, p := range o.Periods[1:] {
			periods.bounds = append(periods.bounds, p.From.Truncate(time.Millisecond))
		}
	}
	return by, periods
}

// method is what the options mean for a metric.
func (o Options) method(lowerIsBetter bool) stats.Method {
	return stats.Method{
		Options:  stats.Options{Alpha: o.Alpha, Tail: o.Tail},
		Sequence: stats.SequenceOptions{TuningUnits: o.TuningUnits},
		Bayes:    stats.BayesOptions{Prior: o.Prior, LowerIsBetter: lowerIsBetter},
		Peeking:  o.Method == Sequential,
	}
}
