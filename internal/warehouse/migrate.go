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

// viewsFiles hold the analysts' views. They hold no data, so they are not
// migrated step by step but made anew from the files that belong to this binary.
// A view may ask others that are made after it.
const viewsFiles = "views*.sql"

// Migrate brings the database to the tables and views of this binary. It may
// run at every start, and on an up-to-date database it changes nothing. Several
// processes may do it at once: every statement of the schema does nothing where
// another has done it.
func Migrate(ctx context.Context, db *DB) error {
	pool := clickhouse.OpenDB(db.config.options(db.config.Database))
	defer pool.Close()
	v := variant{cluster: db.config.Cluster}
	migrations, err := v.migrations(db.define)
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
	return v.views(ctx, db)
}

// views makes the views anew.
func (v variant) views(ctx context.Context, db *DB) error {
	files, err := fs.Glob(schemas.ClickHouse, viewsFiles)
	if err != nil {
		return fmt.Errorf("making the views: %w", err)
	}
	for _, name := range files {
		statements, err := v.render(name)
		if err != nil {
			return fmt.Errorf("making the views: %w", err)
		}
		for _, statement := range statements {
			if err := db.define(ctx, statement); err != nil {
				first, _, _ := strings.Cut(statement, "\n")
				return fmt.Errorf("making a view (%s): %w", first, err)
			}
		}
	}
	return nil
}

// migrations are the numbered files of the schema, as they are for v, each
// statement of which define runs.
func (v variant) migrations(define definer) ([]*goose.Migration, error) {
	files, err := fs.Glob(schemas.ClickHouse, "[0-9]*_*.sql")
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
		all = append(all, goose.NewGoMigration(number, &goose.GoFunc{RunDB: func(ctx context.Context, _ *sql.DB) error {
			for _, statement := range statements {
				if err := define(ctx, statement); err != nil {
					first, _, _ := strings.Cut(statement, "\n")
					return fmt.Errorf("%s: %s: %w", name, first, err)
				}
			}
			return nil
		}}, nil))
	}
	return all, nil
}
