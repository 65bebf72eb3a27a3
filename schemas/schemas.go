// Package schemas holds every shape that outlives a process, embedded, so that
// a binary carries the schemas that it was built with.
package schemas

import (
	"embed"
	"io/fs"
)

//go:embed clickhouse
var files embed.FS

// ClickHouse holds the migrations of the warehouse and the analysts' views.
var ClickHouse = sub("clickhouse")

func sub(folder string) fs.FS {
	f, err := fs.Sub(files, folder)
	if err != nil {
		panic(err) // only a name that is no valid path fails, and ours are constants
	}
	return f
}
