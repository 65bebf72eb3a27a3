package api

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
	"github.com/sluice-flags/sluice/services/control/internal/project"
)

// refusals maps what a decision says to codes of the interface.
var refusals = map[command.Reason]web.Code{
	command.NotFound:   web.CodeNotFound,
	command.Exists:     web.CodeNameTaken,
	command.Stale:      web.CodeStale,
	command.Missing:    web.CodePreconditionRequired,
	command.WrongState: web.CodeWrongState,
	command.Confirm:    web.CodeValidation,
	command.Warned:     web.CodeWarnings,
}

// explain turns the errors of the layers below into what a caller may see.
func explain(err error) error {
	if _, ok := errors.AsType[*web.Error](err); ok {
		return err
	}
	if problems, ok := errors.AsType[flags.Problems](err); ok {
		return invalid(problems)
	}
	if r, ok := errors.AsType[*command.Refusal](err); ok {
		e := &web.Error{Code: refusals[r.Reason], Message: r.Message}
		if r.Reason == command.Confirm {
			e.Problems = []web.FieldProblem{{Pointer: "confirm", Code: "required", Message: r.Message}}
		}
		for _, p := range r.Warnings {
			e.Problems = append(e.Problems, web.FieldProblem(p))
		}
		if r.Conflicts != nil {
			e.Extra = map[string]any{"conflicts": r.Conflicts}
		}
		return e
	}
	again := func(code web.Code, message string) error {
		return &web.Error{Code: code, Message: message, Err: err, RetryAfter: time.Second}
	}
	switch {
	case errors.Is(err, project.ErrReused):
		return web.Errorf(web.CodeIdempotencyConflict, "this Idempotency-Key was sent with another request before")
	case errors.Is(err, project.ErrUnknown):
		return web.Errorf(web.CodeNotFound, "there is no such project")
	case errors.Is(err, events.ErrOutcomeUnknown):
		e := &web.Error{Code: web.CodeOutcomeUnknown, Message: "repeat the request with the same Idempotency-Key: it happens once at most", Err: err, RetryAfter: time.Second}
		if u, ok := errors.AsType[*events.OutcomeUnknownError](err); ok {
			e.Extra = map[string]any{"commandId": u.CommandID}
		}
		return e
	case errors.Is(err, events.ErrConflict):
		return again(web.CodeUnavailable, "others are writing too fast; try again")
	case errors.Is(err, events.ErrDiverged):
		return &web.Error{Code: web.CodeLogDiverged, Message: "an operator has to decide; reads go on", Err: err, RetryAfter: time.Minute}
	case errors.Is(err, events.ErrTooLarge):
		return &web.Error{Code: web.CodeTooLarge, Message: "the change is too large for one commit", Err: err}
	case errors.Is(err, events.ErrFull), errors.Is(err, events.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return again(web.CodeUnavailable, "the log cannot take the change, or be read, just now")
	}
	return err
}

// wholes are the kinds of problem that have a status of their own when nothing
// else is wrong.
var wholes = map[string]web.Code{
	flags.CodeCycle:   web.CodeCycle,
	flags.CodeTaken:   web.CodeNameTaken,
	flags.CodeRetired: web.CodeNameRetired,
	flags.CodeInUse:   web.CodeInUse,
}

// invalid is the answer to a document that has problems.
func invalid(problems flags.Problems) error {
	e := &web.Error{Code: web.CodeValidation, Message: problems[0].Message}
	own, uniform := wholes[problems[0].Code]
	for _, p := range problems {
		e.Problems = append(e.Problems, web.FieldProblem(p))
		uniform = uniform && p.Code == problems[0].Code && (p.Code != flags.CodeTaken || p.Pointer == "/name")
	}
	if uniform {
		e.Code = own
	}
	return e
}
