//go:build !linux && !darwin

package embed

import "errors"

func runLibrary(string, []string) error {
	return errors.New("the engine does not run on this system")
}
