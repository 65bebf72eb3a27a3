-- +goose Up

-- What views have to know of a project: a mirror of its settings in the log.

CREATE TABLE IF NOT EXISTS projects{{.OnCluster}} (
    project   LowCardinality(String) COMMENT 'Project',
    time_zone String COMMENT 'IANA name of the zone in which its days begin and end',
    version   UInt64 COMMENT 'Version of the project that the settings came with; the highest counts'
)
ENGINE = {{.Everywhere "ReplacingMergeTree" "version"}}
ORDER BY (project)
SETTINGS {{.Durable}}
COMMENT 'Settings of projects; read with FINAL';
