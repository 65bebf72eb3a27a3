-- +goose Up

-- How long facts are kept is a project's to say. Every row carries the answer of
-- the day on which it was loaded; a change of mind rewrites the column.

CREATE TABLE IF NOT EXISTS retention{{.OnCluster}} (
    project LowCardinality(String) COMMENT 'Project',
    days    UInt16 COMMENT 'Days for which its exposures and events are kept; 0 = for ever',
    version UInt64 COMMENT 'When this was said, in milliseconds; the newest counts'
)
ENGINE = {{.Everywhere "ReplacingMergeTree" "version"}}
ORDER BY project
SETTINGS {{.Durable}}
COMMENT 'How long the facts of each project are kept; read with FINAL';

{{range $table := $.Parts "exposures"}}
ALTER TABLE {{$table}}{{$.OnCluster}} ADD COLUMN IF NOT EXISTS
    retention_days UInt16 DEFAULT 0 COMMENT 'Days after received_at for which the row is kept; 0 = for ever';
{{end}}
{{range $table := $.Parts "events"}}
ALTER TABLE {{$table}}{{$.OnCluster}} ADD COLUMN IF NOT EXISTS
    retention_days UInt16 DEFAULT 0 COMMENT 'Days after received_at for which the row is kept; 0 = for ever';
{{end}}
ALTER TABLE {{.Local "exposures"}}{{.OnCluster}}
    MODIFY TTL toDateTime(received_at) + toIntervalDay(retention_days) DELETE WHERE retention_days > 0;

ALTER TABLE {{.Local "events"}}{{.OnCluster}}
    MODIFY TTL toDateTime(received_at) + toIntervalDay(retention_days) DELETE WHERE retention_days > 0;
