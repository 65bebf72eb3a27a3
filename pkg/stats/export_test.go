package stats

// Inner functions that tests outside the package check by themselves.
var (
	NormalTail           = normalTail
	NormalUpperQuantile  = normalUpperQuantile
	StudentTail          = studentTail
	StudentUpperQuantile = studentUpperQuantile
	ChiSquaredTail       = chiSquaredTail
	BetaTails            = betaTails
)
