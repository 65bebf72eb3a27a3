package eval

import (
	"time"
)

// Options are what evaluation needs from outside. The zero value works: rules on
// a country or browser that the user does not name do not match then.
type Options struct {
	Country   CountryLookup
	UserAgent UserAgentParser
	Now       func() time.Time   // time.Now if nil
	IDLists   map[string]*IDList // members of the id lists
	Sequence  uint64             // position in the log that the specs stand for
}

// A Ruleset is a compiled, immutable set of specs, safe for any number of
// concurrent evaluations. A change makes a new Ruleset; see [Ruleset.Apply].
type Ruleset struct {
	time     int64
	sequence uint64
}

// A Quarantine is an entity that could not be compiled, and why. It evaluates as
// unsupported; everything else is unaffected.
type Quarantine struct {
	Ref    Ref
	Reason string
}

// A Change is what differs between two rulesets.
type Change struct {
	Time     int64
	Sequence uint64

	Set    []Spec // new or changed entities, whole
	Delete []Ref

	Layers        map[string][]string // nil: unchanged
	IDLists       map[string]*IDList  // lists to set
	DeleteIDLists []string
	AppIDs        *AppIDs // nil: unchanged
}

// AppIDs is what a ruleset knows of target apps; see the fields of [Specs].
type AppIDs struct {
	AppID                   string
	SDKKeysToAppIDs         map[string]string
	HashedSDKKeysToAppIDs   map[string]string
	HashedSDKKeysToEntities map[string]KeyEntities
	DefaultEnvironment      string
}
