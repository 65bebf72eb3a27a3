package stats

// Inner functions that tests outside the package check by themselves.
var (
	NormalTail           = normalTail
	NormalUpperQuantile  = normalUpperQuantile
	StudentTail          = studentTail
	StudentUpperQuantile = studentUpperQuantile
	ChiSquaredTail       = chiSquaredTail
	BetaTails            = func(x, a, b float64) (lower, upper float64) { return betaTails(x, 1-x, a, b) }
)
