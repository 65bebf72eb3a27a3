-- What is known of the units of an experiment, as it was when each entered: what
-- a user became later says nothing about why an experiment worked for him.

CREATE OR REPLACE VIEW experiment_dimension{{.OnCluster}} AS
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
) AS study, (
    SELECT argMax(p.time_zone, p.version)
    FROM projects AS p
    WHERE p.project = {project:String}
) AS zone
SELECT
    e.unit_key AS unit_key,
    argMin(
        multiIf(
            {dimension:String} = 'sdk', toString(e.sdk_type),
            {dimension:String} = 'sdkVersion', trimBoth(concat(e.sdk_type, ' ', e.sdk_version)),
            {dimension:String} = 'reason', toString(e.reason),
            {dimension:String} = 'rule', e.rule_id,
            {dimension:String} = 'layer', toString(e.layer),
            {dimension:String} = 'day', toString(toDate(e.ts, if(zone = '', 'UTC', zone))),
            startsWith({dimension:String}, 'user.'), e.metadata[{dimension:String}],
            ''),
        (e.ts, e.event_id)) AS value
FROM exposures AS e
WHERE e.project = {project:String}
  AND e.name = if(study.1 = 'gate', study.2, {experiment:String})
  AND if(study.1 = 'gate', e.kind = 'gate' AND (e.rule_id = study.3 OR e.override), e.kind IN ('experiment', 'layer') AND e.group_index != 255)
  AND e.environment = study.4 AND e.unit_type = study.5
  AND e.ts >= study.6 AND e.ts < study.7
GROUP BY unit_key
COMMENT 'What the first exposure of each unit of an experiment says in a dimension: sdk, sdkVersion, reason, rule, layer, day (in the time zone of the project), or user.<name>, an attribute that the project keeps; empty = nothing';
