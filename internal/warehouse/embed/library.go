package embed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// LibraryVariable names the environment variable that overrules the search of [FindLibrary].
const LibraryVariable = "SLUICE_ENGINE_LIB"

// ErrNoLibrary is returned, with what to do, where the engine is not installed.
var ErrNoLibrary = errors.New("the ClickHouse engine is not installed")

// packages has the npm package of the engine for each platform that has one.
// Its version is pinned in package.json and nowhere else.
var packages = map[string]string{
	"linux/amd64":  "lib-linux-x64-gnu",
	"linux/arm64":  "lib-linux-arm64-gnu",
	"darwin/amd64": "lib-darwin-x64",
	"darwin/arm64": "lib-darwin-arm64",
}

// FindLibrary looks for the engine's shared library: first where the variable
// SLUICE_ENGINE_LIB says, then in node_modules of the working directory, of the
// executable's, and of the folders above them.
func FindLibrary() (string, error) {
	if path := os.Getenv(LibraryVariable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%w: %s names a file that cannot be read: %w", ErrNoLibrary, LibraryVariable, err)
		}
		return path, nil
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	name, ok := packages[platform]
	if !ok {
		return "", fmt.Errorf("%w: there is none for %s; name a ClickHouse server with CLICKHOUSE_ADDR instead", ErrNoLibrary, platform)
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if executable, err := os.Executable(); err == nil {
		if executable, err = filepath.EvalSymlinks(executable); err == nil {
			starts = append(starts, filepath.Dir(executable))
		}
	}
	for _, dir := range starts {
		if path, ok := findUpward(dir, filepath.Join("node_modules", "@chdb", name, "libchdb.so")); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: run `make setup`, or set %s to the path of libchdb.so, or CLICKHOUSE_ADDR to a ClickHouse server", ErrNoLibrary, LibraryVariable)
}

// findUpward looks for a file in dir and in every folder above it.
func findUpward(dir, file string) (string, bool) {
	for {
		path := filepath.Join(dir, file)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}
