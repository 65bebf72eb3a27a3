package events

// Event is a fact: a unit did something that metrics count.
type Event struct {
	ID          FactID
	Time        int64 // when it happened, milliseconds
	Received    int64 // when it was accepted, milliseconds
	Environment string

	Name string

	// UnitType and UnitID are the event's primary unit: the user if the event
	// names one, else the stable id, else the first custom id by name.
	UnitType string
	UnitID   string
	UnitIDs  []Pair // every id the event came with, by unit type

	Value     *float64 // the value, where it is a number or the text of one
	ValueText string   // the value as it was sent
	Metadata  []Pair

	SDKType    string
	SDKVersion string
}

// Pair is one entry of a small map of texts. Facts keep their maps as slices
// in ascending order of Name, so that equal facts have equal bytes.
type Pair struct{ Name, Value string }

// DeadLetter is a fact that could not be taken as what it claimed to be, set
// aside with the reason. It was acknowledged like its neighbours, so it is
// stored and counted like them: acknowledged = stored + dead letters.
type DeadLetter struct {
	ID       FactID
	Received int64  // milliseconds
	Reason   string // a stable code, such as "time_too_old"
	Detail   string // what is wrong with it, for people
	Payload  string // what was understood of it, as JSON without user attributes
}
