-- +goose Up

-- Units of whom nothing is kept: a mirror of the erasures in the log of each
-- project. done stands beside the rows that are gone, so that a database which
-- comes back from a backup, with the rows and without this, is known for it.

CREATE TABLE IF NOT EXISTS erasures{{.OnCluster}} (
    project   LowCardinality(String) COMMENT 'Project',
    unit_type LowCardinality(String) COMMENT 'Type of the unit',
    unit_key  UInt64 COMMENT 'The unit, as in exposures; its id is not kept',
    before    DateTime64(3, 'UTC') COMMENT 'Facts that were received up to here are erased',
    done      Bool COMMENT 'They are gone',
    version   UInt64 COMMENT 'The newest counts'
)
ENGINE = {{.Everywhere "ReplacingMergeTree" "version"}}
ORDER BY (project, unit_key)
SETTINGS {{.Durable}}
COMMENT 'Units whose facts were erased, and are erased again should they come back; read with FINAL';
