package warehouse

import (
	"fmt"
	"io/fs"
	"strings"
	"text/template"

	"github.com/sluice-flags/sluice/schemas"
)

// A variant is what the files of the schema leave open: on one server tables
// are plain, in a cluster they are replicated and spread over its shards. Its
// methods are what the files call.
type variant struct {
	cluster string // empty: one server
}

// OnCluster is the clause that makes a statement one of the whole cluster.
func (v variant) OnCluster() string {
	if v.cluster == "" {
		return ""
	}
	return " ON CLUSTER " + quoteIdentifier(v.cluster)
}

// Local is the table that holds the rows of one server.
func (v variant) Local(name string) string {
	if v.cluster == "" {
		return name
	}
	return name + "_local"
}

// Spread is the engine of a table of which each shard has its part.
func (v variant) Spread(engine string, arguments ...string) string {
	if v.cluster == "" {
		return call(engine, arguments)
	}
	return call("Replicated"+engine, arguments)
}

// Everywhere is the engine of a table that is the same on every server.
func (v variant) Everywhere(engine string, arguments ...string) string {
	if v.cluster == "" {
		return call(engine, arguments)
	}
	return call("Replicated"+engine, append([]string{"'/clickhouse/tables/{uuid}/all'", "'{shard}-{replica}'"}, arguments...))
}

// Across makes the table that reads and writes all parts of a spread one. The
// key decides where a row goes, so a batch that is sent again goes where it went.
func (v variant) Across(name, key string) string {
	if v.cluster == "" {
		return ""
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s%s AS %s\nENGINE = Distributed(%s, currentDatabase(), %s, %s);",
		name, v.OnCluster(), v.Local(name), quoteIdentifier(v.cluster), v.Local(name), key)
}

// Parts are the tables that make up a spread one, the local one first.
func (v variant) Parts(name string) []string {
	if v.cluster == "" {
		return []string{name}
	}
	return []string{v.Local(name), name}
}

// Durable are the settings of every table: it remembers the tokens of its last
// 10,000 blocks, so that a batch that is sent again is not counted again, and
// has a block on the disk before it says so.
func (v variant) Durable() string {
	window := "non_replicated_deduplication_window"
	if v.cluster != "" {
		window = "replicated_deduplication_window"
	}
	return window + ` = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1,
    max_suspicious_broken_parts = 10000`
}

func call(name string, arguments []string) string {
	if len(arguments) == 0 {
		return name
	}
	return name + "(" + strings.Join(arguments, ", ") + ")"
}

// render returns the statements of a file of the schema.
func (v variant) render(name string) ([]string, error) {
	text, err := fs.ReadFile(schemas.ClickHouse, name)
	if err != nil {
		return nil, err
	}
	file, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := file.Execute(&b, v); err != nil {
		return nil, err
	}
	return statements(b.String()), nil
}

// statements splits a file whose statements each end with a semicolon at the end
// of a line, and leaves out the comments between them.
func statements(file string) (all []string) {
	var b strings.Builder
	for line := range strings.Lines(file) {
		text := strings.TrimRight(line, " \t\r\n")
		if b.Len() == 0 && (text == "" || strings.HasPrefix(text, "--")) {
			continue
		}
		end := strings.HasSuffix(text, ";")
		b.WriteString(strings.TrimSuffix(text, ";"))
		b.WriteByte('\n')
		if end {
			all = append(all, b.String())
			b.Reset()
		}
	}
	if b.Len() > 0 {
		all = append(all, b.String())
	}
	return all
}
