package web

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A Code names a kind of failure for programs. Codes are part of the API: a
// released one keeps its meaning and its status.
type Code string

// The codes of the API. The table below gives each its HTTP status.
const (
	CodeValidation           Code = "validation"
	CodeUnauthenticated      Code = "unauthenticated"
	CodeForbidden            Code = "forbidden"
	CodeServerKeyInBrowser   Code = "server_key_in_browser"
	CodeOriginNotAllowed     Code = "origin_not_allowed"
	CodeNotFound             Code = "not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeNameTaken            Code = "name_taken"
	CodeNameRetired          Code = "name_retired"
	CodeInUse                Code = "in_use"
	CodeWrongState           Code = "wrong_state"
	CodeInProgress           Code = "in_progress"
	CodeCycle                Code = "cycle"
	CodeWarnings             Code = "warnings"
	CodeStale                Code = "stale"
	CodePreconditionRequired Code = "precondition_required"
	CodeIdempotencyConflict  Code = "idempotency_conflict"
	CodeTooLarge             Code = "too_large"
	CodeUnsupportedMedia     Code = "unsupported_media_type"
	CodeRange                Code = "range_not_satisfiable"
	CodeRateLimited          Code = "rate_limited"
	CodeUnavailable          Code = "unavailable"
	CodeOutcomeUnknown       Code = "outcome_unknown"
	CodeLogDiverged          Code = "log_diverged"
	CodeInternal             Code = "internal"
)

// kinds is the one table from codes to statuses and titles.
var kinds = map[Code]struct {
	status int
	title  string
}{
	CodeValidation:           {http.StatusBadRequest, "The request is not valid"},
	CodeUnauthenticated:      {http.StatusUnauthorized, "A valid key is needed"},
	CodeForbidden:            {http.StatusForbidden, "This key may not do that"},
	CodeServerKeyInBrowser:   {http.StatusForbidden, "A server key was used from a browser"},
	CodeOriginNotAllowed:     {http.StatusForbidden, "This key is not for pages of this origin"},
	CodeNotFound:             {http.StatusNotFound, "There is no such resource"},
	CodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "This resource does not answer to that method"},
	CodeNameTaken:            {http.StatusConflict, "The name is taken"},
	CodeNameRetired:          {http.StatusConflict, "The name belonged to something that was deleted"},
	CodeInUse:                {http.StatusConflict, "Something else still uses this"},
	CodeWrongState:           {http.StatusConflict, "The resource is not in a state that allows this"},
	CodeInProgress:           {http.StatusConflict, "The same request is still being worked on"},
	CodeCycle:                {http.StatusUnprocessableEntity, "The references would form a cycle"},
	CodeWarnings:             {http.StatusUnprocessableEntity, "The change has warnings, which were to be heeded"},
	CodeStale:                {http.StatusPreconditionFailed, "The resource has changed since it was read"},
	CodePreconditionRequired: {http.StatusPreconditionRequired, "The write must name the version it is based on"},
	CodeIdempotencyConflict:  {http.StatusUnprocessableEntity, "The idempotency key was used for another request"},
	CodeTooLarge:             {http.StatusRequestEntityTooLarge, "The request is too large"},
	CodeUnsupportedMedia:     {http.StatusUnsupportedMediaType, "The body has a type or an encoding that is not read here"},
	CodeRange:                {http.StatusRequestedRangeNotSatisfiable, "The resource has no such part"},
	CodeRateLimited:          {http.StatusTooManyRequests, "Too many requests"},
	CodeUnavailable:          {http.StatusServiceUnavailable, "The service cannot do this now"},
	CodeOutcomeUnknown:       {http.StatusServiceUnavailable, "It is not known whether the change was stored"},
	CodeLogDiverged:          {http.StatusServiceUnavailable, "The log differs from what was recorded; writes are refused"},
	CodeInternal:             {http.StatusInternalServerError, "Something went wrong on our side"},
}

// Codes returns every code and its status, for documentation and tests.
func Codes() map[Code]int {
	all := make(map[Code]int, len(kinds))
	for code, k := range kinds {
		all[code] = k.status
	}
	return all
}

// Status returns the HTTP status of a code; a code that the table does not know
// is an internal error.
func (c Code) Status() int {
	if k, ok := kinds[c]; ok {
		return k.status
	}
	return http.StatusInternalServerError
}

// An Error is a failure whose Message may be shown to the caller. Anything else
// that reaches [Handle] is internal: logged in full, shown as nothing.
type Error struct {
	Code       Code
	Message    string         // for people; says what to do next
	Err        error          // the cause, for the log only
	Problems   []FieldProblem // what is wrong, field by field
	Extra      map[string]any // further members of the problem document
	RetryAfter time.Duration  // sent as Retry-After when positive
}

// A FieldProblem is one fault in a request. Pointer is a JSON pointer into the
// body, or the name of a header or parameter.
type FieldProblem struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Errorf returns an [Error] with a formatted message for the caller.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid returns a validation error about one field, header or parameter.
func Invalid(pointer, code, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{Code: CodeValidation, Message: message,
		Problems: []FieldProblem{{Pointer: pointer, Code: code, Message: message}}}
}

// Error implements error.
func (e *Error) Error() string {
	text := string(e.Code)
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// StatusOf returns the HTTP status that [Handle] gives to err.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code.Status()
	}
	return http.StatusInternalServerError
}
