package flags

// Limits of what people may write. They keep a document small enough for every
// SDK and every message it travels in.
const (
	maxDocument   = 64 << 10 // bytes of canonical JSON
	maxString     = 64 << 10 // bytes of one string
	maxList       = 10_000   // elements of one list
	maxInteger    = 1 << 53  // beyond it, JavaScript rounds
	maxRules      = 200      // of one entity
	maxValues     = 1000     // of one condition
	maxValue      = 1024     // bytes of one value of a condition
	maxPattern    = 256      // bytes of a regular expression
	maxNetworks   = 4000     // bytes of the expression that ranges of addresses become
	maxGroups     = 100      // of one experiment
	maxConditions = 100      // of one rule
	maxReference  = 10       // entities in a chain of references
	maxEntities   = 10_000   // definitions of one project
	maxTags       = 100      // of one entity
	maxBatch      = 5000     // changes in one batch of ids
	maxField      = 100      // bytes of the name of a user's attribute
	maxRetention  = 36_500   // days for which facts are kept
)
