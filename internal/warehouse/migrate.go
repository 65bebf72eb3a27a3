package warehouse

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"

	"github.com/sluice-flags/sluice/schemas"
)

// viewsFile holds the analysts' views. They hold no data, so they are not
// migrated step by step but made anew from the file that belongs to this binary.
const viewsFile = "views.sql"

// Migrate brings the database to the tables and views of this binary. It may
// run at every start, and on an up-to-date database it changes nothing.
func Migrate(ctx context.Context, db *DB) error {
	pool := clickhouse.OpenDB(db.config.options(db.config.Database))
	defer pool.Close()
	provider, err := goose.NewProvider(goose.DialectClickHouse, pool, schemas.ClickHouse, goose.WithExcludeNames([]string{viewsFile}))
	if err != nil {
		return fmt.Errorf("migrating the warehouse: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating the warehouse: %w", err)
	}
	views, err := fs.ReadFile(schemas.ClickHouse, viewsFile)
	if err != nil {
		return fmt.Errorf("migrating the warehouse: %w", err)
	}
	for statement := range statements(string(views)) {
		if err := db.conn.Exec(ctx, statement); err != nil {
			name, _, _ := strings.Cut(statement, "\n")
			return fmt.Errorf("making a view (%s): %w", name, err)
		}
	}
	return nil
}

// statements yields the statements of a file whose statements each end with a
// semicolon at the end of a line, without the comments between them.
func statements(file string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
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
				if !yield(b.String()) {
					return
				}
				b.Reset()
			}
		}
		if b.Len() > 0 {
			yield(b.String())
		}
	}
}
