-- +goose Up

-- A step of a gate's rule that lets a part of the units pass is an experiment
-- of two groups, those that fail and those that pass, and stands among them.

ALTER TABLE experiments{{.OnCluster}}
    ADD COLUMN IF NOT EXISTS kind    LowCardinality(String) DEFAULT 'experiment' COMMENT 'experiment, or gate: a step of a rule of a gate, named gate/<gate>/<rule>/<step>',
    ADD COLUMN IF NOT EXISTS gate    String COMMENT 'Name of the gate, as in exposures; empty for an experiment',
    ADD COLUMN IF NOT EXISTS rule    String COMMENT 'Id of the rule',
    ADD COLUMN IF NOT EXISTS step    UInt32 COMMENT 'Number of the step: it goes up whenever the percentage of the rule changes',
    ADD COLUMN IF NOT EXISTS rule_id String COMMENT 'What exposures by this step carry as rule_id';
