package stats

// A Code says whether a result, or a part of it, could be computed. Every code
// other than OK explains numbers that are undefined in the same result.
type Code string

// The codes of results.
const (
	// OK says that everything was computed.
	OK Code = "OK"
	// NoUnits says that a group is empty.
	NoUnits Code = "NO_UNITS"
	// InsufficientUnits says that a group is too small for a variance.
	InsufficientUnits Code = "INSUFFICIENT_UNITS"
	// ZeroVariance says that no group varies, so that no uncertainty is known.
	ZeroVariance Code = "ZERO_VARIANCE"
	// ZeroDenominator says that a ratio has nothing to divide by.
	ZeroDenominator Code = "ZERO_DENOMINATOR"
	// InvalidInput says that the input contradicts itself; a [Reason] tells how.
	InvalidInput Code = "INVALID_INPUT"

	// ZeroControlMean says that a lift has nothing to be relative to.
	ZeroControlMean Code = "ZERO_CONTROL_MEAN"
	// FiellerUnbounded says that the control's mean cannot be told from zero, so
	// that no finite interval holds the lift. The absolute interval stands.
	FiellerUnbounded Code = "FIELLER_UNBOUNDED"

	// NotApplicable says that the question makes no sense for this input.
	NotApplicable Code = "NOT_APPLICABLE"
	// TooFewUnits says that an expected count is below five.
	TooFewUnits Code = "TOO_FEW_UNITS"
	// UnexpectedArm says that a group of weight zero holds units.
	UnexpectedArm Code = "UNEXPECTED_ARM"
)

// A Reason is the kind of contradiction behind [InvalidInput]. It is an error,
// so that constructors can return it.
type Reason string

// The reasons for refusing an input.
const (
	NonFinite            Reason = "NON_FINITE"             // a NaN or an infinity
	NegativeVariance     Reason = "NEGATIVE_VARIANCE"      // Σy² below (Σy)²/n by more than rounding
	SuccessesExceedUnits Reason = "SUCCESSES_EXCEED_UNITS" // more successes than units
	AlphaOutOfRange      Reason = "ALPHA"                  // a level, or another probability, outside (0,1)
	NegativeCount        Reason = "NEGATIVE_COUNT"         // a count, weight, share or size below zero
	CovarianceBound      Reason = "COVARIANCE_BOUND"       // |s_xy| above s_x·s_y by more than rounding
	LengthsDiffer        Reason = "LENGTHS_DIFFER"         // two lists that belong together do not match
	ParameterOutOfRange  Reason = "PARAMETER"              // a tuning parameter that is not positive
	noReason             Reason = ""
)

// Error implements error.
func (r Reason) Error() string { return "stats: invalid input: " + string(r) }
