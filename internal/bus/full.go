package bus

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoRoom says that NATS cannot set aside the disk, or the memory, that a stream
// may fill. Trying again does not help before somebody has made room.
var ErrNoRoom = errors.New("NATS has too little room")

// Codes of the server that have to do with room.
const (
	codeNoStorage   jetstream.ErrorCode = 10047 // of the account or the server
	codeNoMemory    jetstream.ErrorCode = 10028 // the same
	codeNoResources jetstream.ErrorCode = 10023
	codeStoreFailed jetstream.ErrorCode = 10077 // of one stream: its limit, or its disk
)

// Full tells whether the server refused a message because there is no room for
// it within a limit: then it is not stored, and the sender may come again.
func Full(err *jetstream.APIError) bool {
	switch err.ErrorCode {
	case codeNoStorage, codeNoMemory, codeNoResources:
		return true
	case codeStoreFailed: // one code for both; only a limit speaks of its maximum
		return strings.Contains(err.Description, "maximum")
	}
	return false
}

// DiskFailed tells whether the server tried to store a message and its disk
// failed: nobody knows what is on it.
func DiskFailed(err *jetstream.APIError) bool { return err.ErrorCode == codeStoreFailed && !Full(err) }
