package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// How an append can end, other than well.
var (
	// ErrConflict: somebody else appended first. Nothing was written. Look at
	// the new state and decide again.
	ErrConflict = errors.New("the log has moved on")
	// ErrOutcomeUnknown: the log could not be asked whether the commit is in
	// it. It is there whole or not at all; appending the same command again
	// tells. The error is an [OutcomeUnknownError].
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrDiverged: the log is not the one that was written to before: it is
	// shorter, other, or gone. Writes are refused until an operator decides;
	// reads go on.
	ErrDiverged = errors.New("the log has diverged from its recorded head")
	// ErrFull: the log has reached its size limit. Nothing was written.
	ErrFull = errors.New("the log is full")
	// ErrTooLarge: the command does not fit into one commit. Nothing was written.
	ErrTooLarge = errors.New("too large for one commit")
	// ErrInvalid: the command breaks the contract of [Command]. A programming
	// error. Nothing was written.
	ErrInvalid = errors.New("invalid command")
	// ErrUnavailable: the log cannot be reached, or must not be written to in
	// its present configuration. Nothing was written.
	ErrUnavailable = errors.New("the log is unavailable")
)

// An OutcomeUnknownError says which command to repeat. It is [ErrOutcomeUnknown].
type OutcomeUnknownError struct {
	CommandID string
	Err       error // why the log could not be asked
}

func (e *OutcomeUnknownError) Error() string {
	return fmt.Sprintf("%v for command %s: %v", ErrOutcomeUnknown, e.CommandID, e.Err)
}

// Is makes the error match [ErrOutcomeUnknown].
func (e *OutcomeUnknownError) Is(target error) bool { return target == ErrOutcomeUnknown }

// Unwrap returns why.
func (e *OutcomeUnknownError) Unwrap() error { return e.Err }

// MaxCommit is how many entities one commit may change.
const MaxCommit = 1000

// A Command is what somebody asked for, as decided: one commit to be.
type Command struct {
	ID      string // chosen by the asker, unique for as long as the log lives: 1 to 200 of ASCII '!' to '~'
	Actor   Actor
	Reason  string
	Cause   string
	Request string // digest of the request, to tell a repeat from a reuse of the id
	Drafts  []Draft
}

// A Draft is one envelope before it has a place: what one entity becomes.
type Draft struct {
	Kind          flags.Kind
	Entity        string
	EntityVersion uint64 // one more than the entity has now; 1 creates it
	Name          string // the entity's name after the change, or when deleted
	Created       int64  // when the entity was created; ignored for version 1
	Operations    []flags.Operation
	Document      json.RawMessage // nil deletes
}

// A Receipt says where a command landed.
type Receipt struct {
	First     Head // of the commit's first envelope
	Last      Head // of its last: the log's head as of this commit
	Envelopes []Envelope
	Replayed  bool // the command had been applied before; these are the envelopes of then
}

// A Boot is a project at one position of its log: the last envelope of each
// entity, tombstones among them, in the order of the log.
type Boot struct {
	Head     Head
	Entities []Envelope
}

// A Point names a position in a log: by sequence, or else by time. The zero
// Point is the head.
type Point struct {
	Seq  uint64
	Time time.Time
}

// A Log keeps one project's envelopes. Implementations pass logtest.Run and are
// safe for concurrent use.
//
// Reading methods return [ErrGap], [ErrFork], [ErrEpoch], [ErrCorrupt] and
// [ErrSchema] for what they find in the log, [ErrUnavailable] when it cannot be
// reached, and the context's error. A sequence stops after its first error.
type Log interface {
	// Append writes one commit behind at, the head on which it was decided:
	// all its drafts, or nothing. A returned receipt is durable.
	//
	// A command whose id is in the log already is not applied again, whatever
	// at says: the receipt of then is returned, marked Replayed.
	//
	// Errors: [ErrConflict], [ErrOutcomeUnknown], [ErrDiverged], [ErrFull],
	// [ErrTooLarge], [ErrInvalid], [ErrUnavailable].
	Append(ctx context.Context, at Head, c Command) (Receipt, error)

	// Lookup finds the receipt of a command by its id. The receipt is marked
	// Replayed; ok is false if the log holds no such command.
	Lookup(ctx context.Context, commandID string) (r Receipt, ok bool, err error)

	// Head is the position of the last envelope, or Seq 0 of an empty log.
	Head(ctx context.Context) (Head, error)

	// Boot reads the project as it is. Its cost is the number of entities.
	Boot(ctx context.Context) (Boot, error)

	// AsOf reads the project as it was at p. A point beyond the head is the
	// head, one before the first envelope is the empty project; a point within
	// a commit is the one before it, for nobody has ever seen half a commit.
	AsOf(ctx context.Context, p Point) (Boot, error)

	// Read yields the envelopes from sequence from to the head as of the call.
	Read(ctx context.Context, from uint64) iter.Seq2[Envelope, error]

	// Follow yields the envelopes behind after, those there and those to come,
	// until ctx ends. It first proves that after is a position of this log:
	// [ErrEpoch] or [ErrFork] if not. The zero Head is the position before the
	// first envelope of whatever log this is. [Verify] holds for each envelope
	// yielded.
	Follow(ctx context.Context, after Head) iter.Seq2[Envelope, error]

	// History yields the envelopes of one entity, oldest first.
	History(ctx context.Context, ref flags.Ref) iter.Seq2[Envelope, error]
}

// Plan turns a command into the envelopes of a commit behind at, as every [Log]
// appends them. Now is the writer's clock in milliseconds.
//
// Errors: [ErrInvalid], [ErrTooLarge].
func Plan(at Head, now int64, c Command) ([]Envelope, error) {
	switch {
	case !validCommandID(c.ID):
		return nil, fmt.Errorf("%w: id %q", ErrInvalid, c.ID)
	case len(c.Drafts) == 0:
		return nil, fmt.Errorf("%w: command %s changes nothing", ErrInvalid, c.ID)
	case len(c.Drafts) > MaxCommit:
		return nil, fmt.Errorf("%w: %d entities, at most %d", ErrTooLarge, len(c.Drafts), MaxCommit)
	}
	out := make([]Envelope, len(c.Drafts))
	for i, d := range c.Drafts {
		if d.Document != nil {
			d.Name = ""
		}
		e, err := Seal(at, Envelope{
			Time:      now,
			Actor:     c.Actor,
			Reason:    c.Reason,
			Cause:     c.Cause,
			CommandID: c.ID,
			Request:   c.Request,
			Commit:    Commit{ID: c.ID, Index: i, Count: len(c.Drafts)},
			Kind:      d.Kind, Entity: d.Entity, EntityVersion: d.EntityVersion,
			Name: d.Name, Created: d.Created,
			Operations: d.Operations, Document: d.Document,
		})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		out[i], at = e, e.Head()
	}
	return out, nil
}

func validCommandID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= 200
}

// ReceiptOf is the receipt of a whole commit.
func ReceiptOf(commit []Envelope, replayed bool) Receipt {
	return Receipt{
		First:     commit[0].Head(),
		Last:      commit[len(commit)-1].Head(),
		Envelopes: commit,
		Replayed:  replayed,
	}
}
