-- +goose Up

-- What the units of an experiment did, one row a unit, made from the facts by
-- control: every number of a report is made of these rows, by the API as by the
-- analysts' views, so both say the same. A rollup is written once, under a
-- revision that no other has, and counts from the moment that rollups names it.

CREATE TABLE IF NOT EXISTS {{.Local "unit_values"}}{{.OnCluster}} (
    revision       UInt64 COMMENT 'The rollup that the row belongs to',
    project        LowCardinality(String) COMMENT 'Project',
    experiment     LowCardinality(String) COMMENT 'Name of the experiment',
    unit_key       UInt64 COMMENT 'The unit, as in exposures',
    group_index    UInt8 COMMENT 'Group of the first exposure',
    first_exposure DateTime64(3, 'UTC') COMMENT 'When that was',
    excluded       LowCardinality(String) COMMENT 'Why the unit is not analysed; empty = it is',
    values         Array(Float64) COMMENT 'What its metrics need, by the slots that rollups names; NaN = none',
    samples        Array(Array(Float64)) COMMENT 'Values of its events, for percentiles of events'
)
ENGINE = {{.Spread "MergeTree"}}
PARTITION BY revision
ORDER BY (project, experiment, unit_key)
SETTINGS {{.Durable}}
COMMENT 'Values of the units of experiments; read through the view experiment_unit_values';

{{.Across "unit_values" "unit_key"}}

CREATE TABLE IF NOT EXISTS rollups{{.OnCluster}} (
    project     LowCardinality(String) COMMENT 'Project',
    experiment  String COMMENT 'Name of the experiment',
    revision    UInt64 COMMENT 'Of the rows in unit_values; the highest counts',
    as_of       DateTime64(3, 'UTC') COMMENT 'The end of the analysis: facts from here on do not count',
    watermark   String COMMENT 'How far the facts had come when it was begun',
    definitions String COMMENT 'Versions of the definitions that it was made by',
    cost_ms     UInt64 COMMENT 'How long it took to make',
    metrics     Array(Tuple(
        metric_id String, name String, type String, version UInt64,
        y UInt32, d UInt32, x UInt32, x_d UInt32, steps UInt32, step_count UInt32, sample UInt32,
        matures_ms UInt64, level Float64, caps Array(Float64)
    )) COMMENT 'Per metric: version of its definition; slots of value, denominator, and both before the first exposure (0 = none), of the first step of a funnel, and of its sample; how long after its first exposure a unit matures; level of a percentile; caps of the four values (inf = none)'
)
ENGINE = {{.Everywhere "ReplacingMergeTree" "revision"}}
ORDER BY (project, experiment)
SETTINGS {{.Durable}}
COMMENT 'Which rollup of an experiment counts, and what it was made by; read with FINAL';

-- Every version of a metric stays, so that a result can be read by the
-- definition that it was made by. One that was replaced within seconds may not be
-- here; the log has them all.
CREATE TABLE IF NOT EXISTS metric_versions{{.OnCluster}} (
    project    LowCardinality(String) COMMENT 'Project',
    metric_id  String COMMENT 'Id of the metric, which never changes',
    version    UInt64 COMMENT 'Version of the project that the definition came with',
    at         DateTime64(3, 'UTC') COMMENT 'When that was',
    name       String COMMENT 'Name of the metric',
    type       LowCardinality(String) COMMENT 'What is made of the events: event_count, event_user, event_dau, sum, mean, min, max, latest, count_distinct, ratio, funnel, retention, percentile',
    direction  LowCardinality(String) COMMENT 'increase or decrease: which way is better',
    definition String COMMENT 'The whole definition as JSON, as the API gives it'
)
ENGINE = {{.Everywhere "ReplacingMergeTree"}}
ORDER BY (project, metric_id, version)
SETTINGS {{.Durable}}
COMMENT 'Definitions of metrics, all versions; rollups and reports name the one that they were made by';
