// Package ofrep holds the bodies of the OpenFeature Remote Evaluation Protocol,
// version 0.3.0, and their codecs.
//
// It promises that whatever bytes a client sends become a [Context] or an
// [Error] that says which of the protocol's codes it is, and that an answer has
// the members that released clients insist on. It knows nothing of flags: what
// they are worth is the business of whoever serves the protocol.
package ofrep

import "encoding/json"

// The paths of the protocol, and ours of event streams, which clients are told.
const (
	PathFlags  = "/ofrep/v1/evaluate/flags"
	PathStream = "/ofrep/v1/stream"
)

// Limits of a request.
const (
	MaxBody  = 64 << 10 // bytes, after decompression too
	MaxDepth = 8        // levels of JSON
	MaxKey   = 255      // bytes of a flag's key
)

// An ErrorCode says to programs what was wrong.
type ErrorCode string

// The codes that a server gives. Others are made by clients themselves.
const (
	FlagNotFound        ErrorCode = "FLAG_NOT_FOUND"
	ParseError          ErrorCode = "PARSE_ERROR"
	TargetingKeyMissing ErrorCode = "TARGETING_KEY_MISSING"
	InvalidContext      ErrorCode = "INVALID_CONTEXT"
	General             ErrorCode = "GENERAL"
)

// An Error is a failure in the protocol's words. Details may be shown to
// whoever sent the request.
type Error struct {
	Code    ErrorCode
	Details string
}

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Details }

// A Reason says how a value came to be.
type Reason string

// The reasons that a server gives.
const (
	Static         Reason = "STATIC"          // everybody gets it
	TargetingMatch Reason = "TARGETING_MATCH" // a rule on the user decided
	Split          Reason = "SPLIT"           // a share of units, of which the unit is one or not
	Default        Reason = "DEFAULT"         // no rule matched
	Disabled       Reason = "DISABLED"        // switched off
	Unknown        Reason = "UNKNOWN"         // a rule asks what this server cannot answer
)

// An Evaluation is what one flag is worth to a context, or why that cannot be
// said: then ErrorCode is set, and the value is not.
type Evaluation struct {
	Key          string          `json:"key"`
	Value        json.RawMessage `json:"value,omitempty"` // absent: clients use the default in their code
	Reason       Reason          `json:"reason,omitempty"`
	Variant      string          `json:"variant,omitempty"`
	ErrorCode    ErrorCode       `json:"errorCode,omitempty"`
	ErrorDetails string          `json:"errorDetails,omitempty"`
	Metadata     *Metadata       `json:"metadata,omitempty"`
}

// Metadata is what we say about a value beside it. The protocol allows
// booleans, strings and numbers only.
type Metadata struct {
	Kind      string `json:"kind"`                // gate, config, experiment, layer
	Name      string `json:"name,omitempty"`      // of the entity, where the key is more than that
	Parameter string `json:"parameter,omitempty"` // that the key names
	RuleID    string `json:"ruleID,omitempty"`
	GroupName string `json:"groupName,omitempty"`
	IDType    string `json:"idType,omitempty"`
	Version   uint64 `json:"version,omitempty"` // of the definition

	Override   bool   `json:"override,omitempty"`   // the unit was put there by name
	Holdout    string `json:"holdout,omitempty"`    // the holdout that keeps the unit out
	Experiment string `json:"experiment,omitempty"` // layers: the experiment that decided
	Deferred   bool   `json:"deferred,omitempty"`   // there is no value on purpose
}

// A Failure is the body of a request that failed. Clients take one for a single
// flag seriously only if it has both key and errorCode.
type Failure struct {
	Key          *string   `json:"key,omitempty"` // nil for a bulk request
	ErrorCode    ErrorCode `json:"errorCode"`
	ErrorDetails string    `json:"errorDetails,omitempty"`
}

// A Bulk is the answer to a request for all flags.
type Bulk struct {
	Flags        json.RawMessage `json:"flags"` // an array of [Evaluation]
	Metadata     SetMetadata     `json:"metadata"`
	EventStreams []EventStream   `json:"eventStreams,omitempty"`
}

// SetMetadata is what we say about all flags together.
type SetMetadata struct {
	FlagSetID string `json:"flagSetId"` // <project>/<environment>
	Version   string `json:"version"`   // sequence of the project's log
}

// An EventStream tells a client where it hears of changes.
type EventStream struct {
	Type               string   `json:"type"` // "sse"
	Endpoint           Endpoint `json:"endpoint"`
	InactivityDelaySec int      `json:"inactivityDelaySec"`
}

// An Endpoint is an address in two parts, so that a client behind another
// origin can keep its own.
type Endpoint struct {
	Origin     string `json:"origin,omitempty"`
	RequestURI string `json:"requestUri"`
}

// A Refetch is the data of an event: something that the client sees has changed.
type Refetch struct {
	Type         string `json:"type"` // TypeRefetch
	ETag         string `json:"etag"`
	LastModified int64  `json:"lastModified"` // Unix seconds
}

// TypeRefetch is the one type of event that the protocol defines.
const TypeRefetch = "refetchEvaluation"
