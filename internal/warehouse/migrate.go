package warehouse

import (
	"context"
	"database/sql"
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
// run at every start, and on an up-to-date database it changes nothing. Several
// processes may do it at once: every statement of the schema does nothing where
// another has done it.
func Migrate(ctx context.Context, db *DB) error {
	pool := clickhouse.OpenDB(db.config.options(db.config.Database))
	defer pool.Close()
	v := variant{cluster: db.config.Cluster}
	migrations, err := v.migrations()
	if err != nil {
		return fmt.Errorf("migrating the warehouse: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectClickHouse, pool, nil, goose.WithGoMigrations(migrations...))
	if err != nil {
		return fmt.Errorf("migrating the warehouse: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating the warehouse: %w", err)
	}
	views, err := v.render(viewsFile)
	if err != nil {
		return fmt.Errorf("migrating the warehouse: %w", err)
	}
	for _, statement := range views {
		if err := db.conn.Exec(ctx, statement); err != nil {
			name, _, _ := strings.Cut(statement, "\n")
			return fmt.Errorf("making a view (%s): %w", name, err)
		}
	}
	return nil
}

// migrations are the numbered files of the schema, as they are for v.
func (v variant) migrations() ([]*goose.Migration, error) {
	files, err := fs.Glob(schemas.ClickHouse, "*_*.sql")
	if err != nil {
		return nil, err
	}
	var all []*goose.Migration
	for _, name := range files {
		number, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		statements, err := v.render(name)
		if err != nil {
			return nil, err
		}
		all = append(all, goose.NewGoMigration(number, &goose.GoFunc{RunDB: func(ctx context.Context, pool *sql.DB) error {
			for _, statement := range statements {
				if _, err := pool.ExecContext(ctx, statement); err != nil {
					first, _, _ := strings.Cut(statement, "\n")
					return fmt.Errorf("%s: %s: %w", name, first, err)
				}
			}
			return nil
		}}, nil))
	}
	return all, nil
}
