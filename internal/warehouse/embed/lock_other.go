//go:build !unix

package embed

import (
	"context"
	"os"
	"path/filepath"
)

// lockFolder locks nothing here: the engine does not run on this system.
func lockFolder(_ context.Context, dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
