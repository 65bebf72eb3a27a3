-- Views of gates with a partial rollout. Each step of a rule (a stretch of time
-- with one percentage) is an experiment of two groups, 0 that fails and 1 that
-- passes, and answered by the views of experiments under the name
-- gate/<gate>/<rule>/<step>.

-- Who came to a step: the units that it decided about while it ran, and those
-- that an override decided about meanwhile. Packed as in first_exposures; no
-- rows for what is no step of a gate.
CREATE OR REPLACE VIEW gate_exposures{{.OnCluster}} AS
WITH (
    SELECT (
        argMax(e.kind, e.version),
        argMax(e.gate, e.version),
        argMax(e.rule_id, e.version),
        argMax(e.environment, e.version),
        argMax(e.unit_type, e.version),
        argMax(e.started_at, e.version),
        ifNull(argMax(tuple(e.ended_at), e.version).1, toDateTime64('2299-01-01 00:00:00', 3, 'UTC'))
    )
    FROM experiments AS e
    WHERE e.project = {project:String} AND e.name = {experiment:String}
) AS study
SELECT
    e.unit_key AS unit_key,
    min(toUInt64(toUnixTimestamp64Milli(e.ts)) * 512 + (NOT e.override) * 256 + (e.value = 'true')) AS first,
    groupBitOr(bitShiftLeft(toUInt64(1), e.value = 'true')) AS mask
FROM exposures AS e
WHERE study.1 = 'gate'
  AND e.project = {project:String} AND e.name = study.2 AND e.kind = 'gate'
  AND (e.rule_id = study.3 OR e.override)
  AND e.environment = study.4 AND e.unit_type = study.5 AND e.unit_id != ''
  AND e.ts >= study.6 AND e.ts < least(study.7, now64(3, 'UTC'))
GROUP BY unit_key
COMMENT 'Units that came to a step of a gate, packed as in first_exposures';

CREATE OR REPLACE VIEW gate_steps{{.OnCluster}} AS
SELECT
    project,
    gate,
    rule,
    step,
    groups[2].share AS percentage,
    environment,
    unit_type,
    started_at,
    ended_at,
    name AS experiment
FROM experiments FINAL
WHERE kind = 'gate'
ORDER BY project, gate, started_at
COMMENT 'Steps of the rules of gates that let a part of the units pass, one row each; experiment is the name to ask the views of experiments for';

-- The scorecard of a step: experiment_results, Pass against Fail.
CREATE OR REPLACE VIEW gate_results{{.OnCluster}} AS
SELECT *
FROM experiment_results(project = {project:String}, experiment = concat('gate/', {gate:String}, '/', {rule:String}, '/', toString({step:UInt32})))
COMMENT 'Scorecard of one step of a rule of a gate (see gate_steps): per metric, the units that pass against those that fail; columns as in experiment_results';
