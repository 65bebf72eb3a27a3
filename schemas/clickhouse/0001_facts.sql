-- +goose Up

-- Every table here keeps the tokens of its last 10,000 inserted blocks, the
-- targets of views too, so that a batch that is sent again is not counted
-- again; and it has a block on the disk before it says so.

CREATE TABLE IF NOT EXISTS {{.Local "exposures"}}{{.OnCluster}} (
    project     LowCardinality(String) COMMENT 'Project whose rules decided',
    environment LowCardinality(String) COMMENT 'Environment of the SDK key; production if it named none',
    kind        LowCardinality(String) COMMENT 'What was decided: gate, config, experiment, or layer (an experiment read through a layer parameter)',
    name        LowCardinality(String) COMMENT 'Name of the gate, config or experiment that was decided',
    rule_id     String COMMENT 'Wire id of the rule that decided: base rule, and for rollouts the percentage and step',
    group_index UInt8 COMMENT 'Position of the group in its experiment (see experiment_groups); 255 = in no group',
    override    Bool COMMENT 'The unit was put there by hand; analyses leave it out',
    unit_type   LowCardinality(String) COMMENT 'userID, stableID or the name of a custom id',
    unit_id     String COMMENT 'Id of the unit, or its keyed hash where the project stores hashes',
    unit_key    UInt64 COMMENT 'xxHash64(concat(unit_type, ''\\x1f'', unit_id)): join on this',
    ts          DateTime64(3, 'UTC') COMMENT 'When the value was given, by the clock of the client',
    received_at DateTime64(3, 'UTC') COMMENT 'When it was accepted',
    event_id    UUID COMMENT 'Identity of the exposure; a repetition has the same',
    value       String COMMENT 'What the unit got: true or false for a gate, else the name of the group',
    layer       LowCardinality(String) COMMENT 'Layer that the experiment was read through, if any',
    parameter   LowCardinality(String) COMMENT 'Layer parameter that was read, if any',
    sequence    UInt64 COMMENT 'Version of the project that decided; 0 = unknown',
    sdk_type    LowCardinality(String) COMMENT 'SDK that reported it',
    sdk_version LowCardinality(String) COMMENT 'Version of that SDK',
    reason      LowCardinality(String) COMMENT 'Why this value, in the words of the SDK'
)
ENGINE = {{.Spread "ReplacingMergeTree"}}
PARTITION BY toYYYYMM(received_at)
ORDER BY (project, name, kind, unit_key, ts, event_id)
SETTINGS {{.Durable}}
COMMENT 'Which unit got which value by which rule, one row per exposure';

{{.Across "exposures" "unit_key"}}

CREATE TABLE IF NOT EXISTS {{.Local "events"}}{{.OnCluster}} (
    project     LowCardinality(String) COMMENT 'Project of the SDK key',
    environment LowCardinality(String) COMMENT 'Environment of the SDK key; production if it named none',
    event       LowCardinality(String) COMMENT 'Name of the event',
    unit_type   LowCardinality(String) COMMENT 'Type of the primary unit: userID if the event had one, else stableID, else the first custom id by name',
    unit_id     String COMMENT 'Id of the primary unit',
    unit_key    UInt64 COMMENT 'xxHash64(concat(unit_type, ''\\x1f'', unit_id)): join on this',
    unit_ids    Map(LowCardinality(String), String) COMMENT 'Every unit id of the event, by unit type',
    ts          DateTime64(3, 'UTC') COMMENT 'When it happened, by the clock of the client',
    received_at DateTime64(3, 'UTC') COMMENT 'When it was accepted',
    event_id    UUID COMMENT 'Identity of the event; a repetition has the same',
    value       Nullable(Float64) COMMENT 'Value, if it is a number',
    value_text  String COMMENT 'Value as sent, if it is text',
    metadata    Map(LowCardinality(String), String) COMMENT 'What the event carried besides',
    sdk_type    LowCardinality(String) COMMENT 'SDK that reported it',
    sdk_version LowCardinality(String) COMMENT 'Version of that SDK'
)
ENGINE = {{.Spread "ReplacingMergeTree"}}
PARTITION BY toYYYYMM(received_at)
ORDER BY (project, event, unit_key, ts, event_id)
SETTINGS {{.Durable}}
COMMENT 'What units did, one row per event';

{{.Across "events" "unit_key"}}

-- min and or do not mind a repeated row, so this table is right even where the
-- same exposure came twice under two tokens.
CREATE TABLE IF NOT EXISTS {{.Local "first_exposures"}}{{.OnCluster}} (
    project     LowCardinality(String) COMMENT 'Project',
    environment LowCardinality(String) COMMENT 'Environment',
    kind        LowCardinality(String) COMMENT 'experiment (read directly or through a layer), gate or config',
    name        LowCardinality(String) COMMENT 'Name of the experiment, gate or config',
    unit_type   LowCardinality(String) COMMENT 'Type of the unit',
    unit_key    UInt64 COMMENT 'The unit, as in exposures',
    first       SimpleAggregateFunction(min, UInt64) COMMENT 'Earliest exposure in a group: milliseconds * 512, plus 256 unless by override, plus group index',
    mask        SimpleAggregateFunction(groupBitOr, UInt64) COMMENT 'Groups that the unit was seen in: bit of the group index (bit 63 for 63 and above)'
)
ENGINE = {{.Spread "AggregatingMergeTree"}}
ORDER BY (project, name, kind, environment, unit_type, unit_key)
SETTINGS {{.Durable}}
COMMENT 'When and where each unit was first seen in a group; aggregate again when reading: min(first), groupBitOr(mask)';

{{.Across "first_exposures" "unit_key"}}

CREATE MATERIALIZED VIEW IF NOT EXISTS first_exposures_feed{{.OnCluster}} TO {{.Local "first_exposures"}} AS
SELECT
    e.project AS project,
    e.environment AS environment,
    if(e.kind = 'layer', 'experiment', e.kind) AS kind,
    e.name AS name,
    e.unit_type AS unit_type,
    e.unit_key AS unit_key,
    min(toUInt64(toUnixTimestamp64Milli(e.ts)) * 512 + (NOT e.override) * 256 + e.group_index) AS first,
    groupBitOr(bitShiftLeft(toUInt64(1), least(e.group_index, 63))) AS mask
FROM {{.Local "exposures"}} AS e
WHERE e.group_index != 255
GROUP BY project, environment, kind, name, unit_type, unit_key;

CREATE TABLE IF NOT EXISTS {{.Local "dead_letters"}}{{.OnCluster}} (
    project     LowCardinality(String) COMMENT 'Project of the key that sent it',
    reason      LowCardinality(String) COMMENT 'Code of what is wrong with it',
    detail      String COMMENT 'What is wrong with it, in words',
    received_at DateTime64(3, 'UTC') COMMENT 'When it came',
    event_id    UUID COMMENT 'Its identity, if it has one',
    body        String COMMENT 'The fact as it came, private attributes removed'
)
ENGINE = {{.Spread "MergeTree"}}
PARTITION BY toYYYYMM(received_at)
ORDER BY (project, received_at)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS {{.Durable}}
COMMENT 'Facts that could not be counted, with the reason; kept for 90 days';

{{.Across "dead_letters" "cityHash64(event_id)"}}

CREATE TABLE IF NOT EXISTS load_progress{{.OnCluster}} (
    stream     String COMMENT 'Log id of the stream',
    partition  UInt32 COMMENT 'Partition of the stream',
    plan       UInt64 COMMENT 'Last frozen batch that was inserted',
    sequence   UInt64 COMMENT 'Last stream sequence of that batch',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this was written'
)
ENGINE = {{.Everywhere "ReplacingMergeTree" "plan"}}
ORDER BY (stream, partition)
SETTINGS {{.Durable}}
COMMENT 'How far the loaders came; read max(plan), max(sequence)';
