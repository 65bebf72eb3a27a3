package demo

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Names in the demo project.
const (
	projectID      = "demo"
	gateName       = "new_checkout"
	configName     = "checkout_banner"
	experimentName = "pricing_page"
	purchaseMetric = "purchase_rate"
	revenueMetric  = "revenue_per_visitor"

	purchaseEvent = "purchase"

	asked = "user_123" // is without the new checkout, until it is on for everyone
)

// A group is one arm of the demo's experiment and how its visitors behave.
type group struct {
	name     string
	share    float64 // percent of the visitors
	purchase float64 // probability that a visitor buys
}

// groups are one good, one null and one bad change against control.
var groups = []group{
	{name: "control", share: 25, purchase: 0.20},
	{name: "clearer_prices", share: 25, purchase: 0.26},
	{name: "new_font", share: 25, purchase: 0.20},
	{name: "extra_step", share: 25, purchase: 0.15},
}

// Baskets are lognormal with this mean and this sigma of the logarithm, the
// same in every group: all lift in revenue comes from the purchase rate.
const (
	basketMean  = 30.0
	basketSigma = 0.5
)

// An Effect is the true difference of one group from control in one metric.
type Effect struct {
	Group    string  `json:"group"`
	Metric   string  `json:"metric"`
	Absolute float64 `json:"absolute"` // in the metric's own units
	Relative float64 `json:"relative"` // 0.3 means 30 % above control
}

// Effects returns what the traffic really does, by group and metric: the
// expectation that the experiment's intervals should cover.
func Effects() []Effect {
	control := groups[0]
	var out []Effect
	for _, g := range groups[1:] {
		difference := g.purchase - control.purchase
		out = append(out,
			Effect{Group: g.name, Metric: purchaseMetric, Absolute: difference, Relative: difference / control.purchase},
			Effect{Group: g.name, Metric: revenueMetric, Absolute: difference * basketMean, Relative: difference / control.purchase},
		)
	}
	return out
}

// A visitor is one simulated person. What it does depends only on the seed, its
// number and the group that the platform puts it in.
type visitor struct {
	id     string
	luck   float64 // buys when below the group's probability
	basket float64 // worth of the basket, should it buy
}

func newVisitor(seed uint64, number int) visitor {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	normal := r.NormFloat64()
	return visitor{
		id:     fmt.Sprintf("visitor-%d-%06d", seed, number),
		luck:   r.Float64(),
		basket: math.Round(100*basketMean*math.Exp(basketSigma*normal-basketSigma*basketSigma/2)) / 100,
	}
}

// buys reports whether v buys when it is in the named group. A visitor outside
// the experiment behaves like control.
func (v visitor) buys(name string) bool {
	for _, g := range groups {
		if g.name == name {
			return v.luck < g.purchase
		}
	}
	return v.luck < groups[0].purchase
}
