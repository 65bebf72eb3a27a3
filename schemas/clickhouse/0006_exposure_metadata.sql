-- +goose Up

-- Attributes of users are stored only where a project lists them, and a time that
-- cannot be is marked: both stand beside the exposure, as they do beside an event.

{{range $table := $.Parts "exposures"}}
ALTER TABLE {{$table}}{{$.OnCluster}} ADD COLUMN IF NOT EXISTS
    metadata Map(LowCardinality(String), String) COMMENT 'What the exposure carried besides: attributes that the project keeps, as user.<name>; sluice.sent_time, the time that the client claimed where it lay in the future';
{{end}}
{{range $table := $.Parts "exposures"}}
ALTER TABLE {{$table}}{{$.OnCluster}} ADD COLUMN IF NOT EXISTS
    late_ms Int64 ALIAS toUnixTimestamp64Milli(received_at) - toUnixTimestamp64Milli(ts) COMMENT 'How long after it happened it was accepted, in milliseconds';
{{end}}
{{range $table := $.Parts "events"}}
ALTER TABLE {{$table}}{{$.OnCluster}} ADD COLUMN IF NOT EXISTS
    late_ms Int64 ALIAS toUnixTimestamp64Milli(received_at) - toUnixTimestamp64Milli(ts) COMMENT 'How long after it happened it was accepted, in milliseconds';
{{end}}
