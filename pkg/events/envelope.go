// Package events holds the facts that the platform records and the contract of
// the log that keeps them.
//
// A project's definitions are the fold of its log: a dense sequence of
// [Envelope] values from 1, each chained to the one before by a SHA-256 hash,
// each carrying the whole document that an entity became. Three promises
// follow and hold for every [Log]:
//
//   - Folding the last envelope of each entity gives the same state as folding
//     all of them, byte for byte ([Apply], [Fold]).
//   - A hole, a rewritten message, a second history or a damaged byte is an
//     error at the first read that meets it ([Verify]), never a wrong state.
//   - What is written once is readable for ever: payloads gain optional fields
//     and nothing else; any other change is a new schema number.
//
// The package is pure: it reads no clock and opens nothing.
package events

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// Schema is the version of the envelope that this code writes, and the highest
// that it reads.
const Schema = 1

// An Envelope is one message of a project's log: what was meant (Operations),
// what the entity has become (Document), who did it and why, and its place in
// the chain.
//
// The order of the fields is the order of the members in the message, and so
// part of the format: see [Envelope.Encode].
type Envelope struct {
	Schema int    `json:"schema"`
	LogID  string `json:"logId"`
	Seq    uint64 `json:"seq"`  // position in the log, dense from 1; the project's version
	Time   int64  `json:"time"` // Unix milliseconds, strictly rising within a log

	Actor     Actor  `json:"actor"`
	Reason    string `json:"reason,omitempty"`  // why, in the actor's words
	Cause     string `json:"cause,omitempty"`   // what set it off, when no person did: a schedule, an import
	CommandID string `json:"commandId"`         // the request that this answers; equal for all of one commit
	Request   string `json:"request,omitempty"` // digest of the request, so that a reused key with another body shows
	Commit    Commit `json:"commit"`

	Kind          flags.Kind        `json:"kind"`
	Entity        string            `json:"entity"`         // immutable id
	EntityVersion uint64            `json:"entityVersion"`  // dense per entity, from 1
	Name          string            `json:"name,omitempty"` // of a tombstone only: the name that it retires
	Created       int64             `json:"created"`        // time of the entity's first envelope
	Operations    []flags.Operation `json:"operations,omitempty"`
	Document      json.RawMessage   `json:"document,omitempty"` // whole new state; nil: deleted

	Prev Hash `json:"prev"` // hash of the envelope before; zero for the first
	Hash Hash `json:"hash"` // see [Envelope.Encode]
}

// Ref names the entity that e changed.
func (e Envelope) Ref() flags.Ref { return flags.Ref{Kind: e.Kind, ID: e.Entity} }

// Head is the head of a log that ends with e.
func (e Envelope) Head() Head {
	return Head{LogID: e.LogID, Seq: e.Seq, Time: e.Time, Hash: e.Hash}
}

// Deleted reports whether e is a tombstone.
func (e Envelope) Deleted() bool { return e.Document == nil }

// An Actor is whoever made a change.
type Actor struct {
	Kind string `json:"kind"` // "key", "person", "system"
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// A Commit groups the envelopes that landed together.
type Commit struct {
	ID    string `json:"id"`
	Index int    `json:"index"` // from 0
	Count int    `json:"count"`
}

// Last reports whether c belongs to the last envelope of its commit.
func (c Commit) Last() bool { return c.Index == c.Count-1 }

// A Head is a position in a log together with proof of what came before it.
// The zero Seq is the position before the first envelope.
type Head struct {
	LogID string `json:"logId"`
	Seq   uint64 `json:"seq"`
	Time  int64  `json:"time"`
	Hash  Hash   `json:"hash"`
}

// String is short, for messages and logs: "41@9f86d081".
func (h Head) String() string { return fmt.Sprintf("%d@%x", h.Seq, h.Hash[:4]) }

// A Hash is a link of the chain.
type Hash [32]byte

// String is the hash in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(h) || len(text)%2 != 0 {
		return fmt.Errorf("hash: want %d hexadecimal digits, got %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}
