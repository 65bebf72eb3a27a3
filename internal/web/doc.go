// Package web is how every service of Sluice speaks HTTP.
//
// It promises four things. A handler that returns an error answers with a
// problem document (RFC 9457) whose code is stable and whose message was meant
// for the caller; anything else is logged in full and shown as nothing. A body
// is read under limits, so that no input, however compressed or nested, costs
// more than its limit. Every answer carries a request id that the log has too.
// And a server that is asked to stop finishes what it has begun.
package web
