package bus

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// The streams. Each project has one for its definitions besides these.
const (
	HeadsStream     = "HEADS"         // last recorded head of each project's log
	FactsStream     = "FACTS"         // exposures and events on their way to the warehouse
	DeadFactsStream = "FACTS_DEAD"    // facts that could not be loaded, with the reason
	PlansStream     = "FACTS_PLANS"   // which facts were loaded together
	LoadersStream   = "FACTS_LOADERS" // who loads which partition just now
	ClaimsStream    = "FACTS_CLAIMS"  // which decisions edges have recorded in this hour
	FactKeysStream  = "FACTS_KEYS"    // the secret by which each project hashes ids of units
	FlagsStreams    = "FLAGS_"        // begins the names of those of definitions
)

// OrgProject is the reserved project of people, roles and the list of projects.
const OrgProject = "_org"

// FactPartitions is how many partitions the facts of a project spread over, so
// that loaders can share the work and a unit stays with one of them.
const FactPartitions = 16

var projectID = regexp.MustCompile(`^([a-z][a-z0-9_]{0,31}|_org)$`)

// ValidProject reports whether id can name a project: lower-case letters,
// digits and '_', beginning with a letter, at most 32; or [OrgProject].
func ValidProject(id string) bool { return projectID.MatchString(id) }

// FactsCanary is where canaries go in [FactsStream], to be stored and read by
// nobody: no project has such a name. See [Health].
const FactsCanary = "facts._canary"

// HeadsCanary is the same in [HeadsStream], which keeps the last one alone.
func HeadsCanary(door string) string { return "heads._canary_" + door }

// FlagsStream names the stream of a project's definitions.
func FlagsStream(project string) string { return FlagsStreams + project }

// ProjectOf is the inverse of [FlagsStream].
func ProjectOf(stream string) (project string, ok bool) {
	project, ok = strings.CutPrefix(stream, FlagsStreams)
	return project, ok && ValidProject(project)
}

// FlagsSubject is the subject of one entity's changes.
func FlagsSubject(project string, ref flags.Ref) string {
	return "flags." + project + "." + string(ref.Kind) + "." + ref.ID
}

// FlagsSubjects matches every subject of a project's definitions.
func FlagsSubjects(project string) string { return "flags." + project + ".>" }

// HeadSubject is the subject of a project's recorded head.
func HeadSubject(project string) string { return "heads." + project }

// FactsSubject is the subject of a message of facts: kind says what is in it,
// partition is of [FactPartition].
func FactsSubject(project, kind string, partition int) string {
	return "facts." + project + "." + kind + "." + strconv.Itoa(partition)
}

// DeadFactsSubject is where facts of a project go that could not be loaded.
func DeadFactsSubject(project, kind string) string {
	return "facts_dead." + project + "." + kind
}

// PlansSubject is where the plans of a partition of facts go.
func PlansSubject(partition int) string { return "facts_plans." + strconv.Itoa(partition) }

// FactKeySubject is where the secret of a project is by which ids of units are
// hashed. The first message counts.
func FactKeySubject(project string) string { return "facts_keys." + project }

// LoaderSubject is where a process that loads facts says that it is there.
func LoaderSubject(member string) string { return "facts_loaders.member." + member }

// LeaseSubject is where the process stands that loads a partition of facts.
func LeaseSubject(partition int) string {
	return "facts_loaders.partition." + strconv.Itoa(partition)
}

// ClaimSubject is where the edge says that it records the exposure of an id.
func ClaimSubject(id string) string { return "facts_claims." + id }

// FactPartition is the partition of a unit's facts, from 0 to [FactPartitions]-1.
func FactPartition(unit string) int { return int(xxhash.Sum64String(unit) % FactPartitions) }
