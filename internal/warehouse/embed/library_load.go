//go:build linux || darwin

package embed

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// runLibrary loads the engine and runs it with the arguments of a command line,
// until its last statement has ended.
func runLibrary(path string, arguments []string) error {
	library, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return notLoaded{fmt.Errorf("loading the engine: %w", err)}
	}
	var (
		setSignalHandlers func(int32)
		query             func(int32, unsafe.Pointer) unsafe.Pointer
		resultError       func(unsafe.Pointer) string
	)
	purego.RegisterLibFunc(&setSignalHandlers, library, "chdb_set_signal_handlers_enabled")
	purego.RegisterLibFunc(&query, library, "chdb_query_cmdline")
	purego.RegisterLibFunc(&resultError, library, "chdb_result_error")

	// With its own handlers on, the engine takes signals that Go's runtime needs:
	// after a fault it would hang for ever instead of dying with a trace.
	setSignalHandlers(0)

	var pin runtime.Pinner // the engine keeps pointers to its arguments
	defer pin.Unpin()
	argv := make([]*byte, len(arguments)+1) // ends with a nil, as C wants it
	for i, a := range arguments {
		argv[i] = &append([]byte(a), 0)[0]
		pin.Pin(argv[i])
	}
	pin.Pin(&argv[0])
	result := query(int32(len(arguments)), unsafe.Pointer(&argv[0]))
	if message := resultError(result); message != "" {
		return errors.New(message)
	}
	return nil
}
