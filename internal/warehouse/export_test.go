package warehouse

import (
	"context"
	"io/fs"

	"github.com/sluice-flags/sluice/schemas"
)

// ClusterStatements are all statements of the schema, as they are for a cluster.
func ClusterStatements(cluster string) (all []string, err error) {
	files, err := fs.Glob(schemas.ClickHouse, "*.sql")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		statements, err := variant{cluster: cluster}.render(name)
		if err != nil {
			return nil, err
		}
		all = append(all, statements...)
	}
	return all, nil
}

// DefineBy lets define run what is a statement of the whole cluster.
func (db *DB) DefineBy(define func(ctx context.Context, statement string, args ...any) error) {
	db.define = define
}
