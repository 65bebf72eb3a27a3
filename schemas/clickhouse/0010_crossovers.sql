-- +goose Up

-- What becomes of units that saw more than one group is said by the experiment.

ALTER TABLE experiments{{.OnCluster}}
    ADD COLUMN IF NOT EXISTS crossovers LowCardinality(String) DEFAULT 'exclude' COMMENT 'What becomes of units that saw more than one group: exclude, or first: they stay in the group that they saw first';
