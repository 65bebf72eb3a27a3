-- +goose Up

-- What the facts are about: a mirror of the definitions in the log, written by
-- control and disposable. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS experiments{{.OnCluster}} (
    project       LowCardinality(String) COMMENT 'Project',
    name          String COMMENT 'Name of the experiment, as in exposures',
    experiment_id String COMMENT 'Its id, which never changes',
    status        LowCardinality(String) COMMENT 'draft, running, decided, abandoned or archived',
    environment   LowCardinality(String) COMMENT 'Environment whose facts are analysed',
    unit_type     LowCardinality(String) COMMENT 'Type of the units that are compared',
    started_at    DateTime64(3, 'UTC') COMMENT 'Facts before this do not count',
    ended_at      Nullable(DateTime64(3, 'UTC')) COMMENT 'Facts from this on do not count; NULL while it runs',
    groups        Array(Tuple(id String, name String, share Float64, control Bool)) COMMENT 'Groups by their index',
    metrics       Array(String) COMMENT 'Ids of its metrics',
    version       UInt64 COMMENT 'Time of this definition in milliseconds'
)
ENGINE = {{.Everywhere "ReplacingMergeTree" "version"}}
ORDER BY (project, name)
SETTINGS {{.Durable}}
COMMENT 'Definitions of experiments; read with FINAL';

CREATE TABLE IF NOT EXISTS metrics{{.OnCluster}} (
    project   LowCardinality(String) COMMENT 'Project',
    name      String COMMENT 'Name of the metric',
    metric_id String COMMENT 'Its id, which never changes',
    type      LowCardinality(String) COMMENT 'event_user (units with an event), event_count, sum, or mean (value per event)',
    event     LowCardinality(String) COMMENT 'Event that is counted',
    value_key String COMMENT 'Metadata key that holds the value; empty for the value of the event itself',
    filters   Array(Tuple(key String, negate Bool, values Array(String))) COMMENT 'Metadata that an event must have, or with negate must not have',
    window_ms UInt64 COMMENT 'How long after its first exposure events of a unit count; 0 = to the end',
    direction LowCardinality(String) COMMENT 'increase or decrease: which way is better',
    version   UInt64 COMMENT 'Time of this definition in milliseconds'
)
ENGINE = {{.Everywhere "ReplacingMergeTree" "version"}}
ORDER BY (project, metric_id)
SETTINGS {{.Durable}}
COMMENT 'Definitions of metrics; read with FINAL';

CREATE VIEW IF NOT EXISTS experiment_groups{{.OnCluster}} AS
SELECT
    project,
    name AS experiment,
    toUInt8(group_number - 1) AS group_index,
    g.name AS group,
    g.id AS group_id,
    g.share AS share,
    g.control AS is_control,
    version
FROM experiments FINAL
ARRAY JOIN groups AS g, arrayEnumerate(groups) AS group_number
COMMENT 'Groups of every experiment, one row each, by the index that exposures carry';
