// Package schemas holds every shape that outlives a process: documents, change
// events, facts, frames of the live protocol, HTTP interfaces and tables. They
// are embedded, so that a binary carries the schemas that it was built with.
//
// A folder's golden examples must decode for ever; the package that owns the Go
// types has the test.
package schemas

import (
	"embed"
	"io/fs"
)

// The pattern takes whatever folders there are: one that is still empty is no
// error here, and reads as a folder that does not exist.
//
//go:embed *
var files embed.FS

var (
	// Documents holds a JSON Schema for each kind of definition, and examples.
	Documents = sub("documents")
	// Events holds the schema of the change event.
	Events = sub("events")
	// Facts holds the schemas of exposures and events.
	Facts = sub("facts")
	// Live holds the frames of the live protocol.
	Live = sub("live")
	// OpenAPI holds the descriptions of the HTTP interfaces.
	OpenAPI = sub("openapi")
	// ClickHouse holds the migrations of the warehouse and the analysts' views.
	ClickHouse = sub("clickhouse")
)

func sub(folder string) fs.FS {
	f, err := fs.Sub(files, folder)
	if err != nil {
		panic(err) // only a name that is no valid path fails, and ours are constants
	}
	return f
}
