-- Views for analysts, and for the results API, which asks the same ones: the
-- numbers of both are the same because the question is. Each takes the names of
-- a project and an experiment:
--
--     SELECT * FROM experiment_results(project = 'demo', experiment = 'checkout');
--
-- Each statement ends with a semicolon at the end of a line.

-- Who takes part: one row per unit that was seen in a group.
--
-- first_exposures knows the first exposure of all time. Where that is not the
-- first of the analysis (the experiment has ended, or units were seen before it
-- started), the exposures themselves are asked.
CREATE OR REPLACE VIEW experiment_units{{.OnCluster}} AS
WITH
    (
        SELECT (
            argMax(e.environment, e.version),
            argMax(e.unit_type, e.version),
            toUInt64(toUnixTimestamp64Milli(argMax(e.started_at, e.version))),
            argMax(if(isNull(e.ended_at), 4398046511104, toUInt64(toUnixTimestamp64Milli(assumeNotNull(e.ended_at)))), e.version),
            toUInt64(length(argMax(e.groups, e.version)))
        )
        FROM experiments AS e
        WHERE e.project = {project:String} AND e.name = {experiment:String}
    ) AS study,
    (
        SELECT study.4 != 4398046511104 OR min(f.first) < study.3 * 512
        FROM first_exposures AS f
        WHERE f.project = {project:String} AND f.name = {experiment:String} AND f.kind = 'experiment'
          AND f.environment = study.1 AND f.unit_type = study.2
    ) AS bounded,
    seen AS (
        SELECT f.unit_key AS unit_key, min(f.first) AS first, groupBitOr(f.mask) AS mask
        FROM first_exposures AS f
        WHERE NOT bounded
          AND f.project = {project:String} AND f.name = {experiment:String} AND f.kind = 'experiment'
          AND f.environment = study.1 AND f.unit_type = study.2
        GROUP BY unit_key
        UNION ALL
        SELECT
            e.unit_key AS unit_key,
            min(toUInt64(toUnixTimestamp64Milli(e.ts)) * 512 + (NOT e.override) * 256 + e.group_index) AS first,
            groupBitOr(bitShiftLeft(toUInt64(1), least(e.group_index, 63))) AS mask
        FROM exposures AS e
        WHERE bounded
          AND e.project = {project:String} AND e.name = {experiment:String} AND e.kind IN ('experiment', 'layer')
          AND e.environment = study.1 AND e.unit_type = study.2 AND e.group_index != 255
          AND e.ts >= fromUnixTimestamp64Milli(toInt64(study.3), 'UTC') AND e.ts < fromUnixTimestamp64Milli(toInt64(study.4), 'UTC')
        GROUP BY unit_key
        UNION ALL
        SELECT unit_key, first, mask
        FROM gate_exposures(project = {project:String}, experiment = {experiment:String})
    )
SELECT
    unit_key,
    toUInt8(first % 256) AS group_index,
    fromUnixTimestamp64Milli(toInt64(intDiv(first, 512)), 'UTC') AS first_exposure,
    multiIf(
        bitAnd(first, 256) = 0, 'override',
        bitCount(mask) > 1, 'crossover',
        group_index >= study.5, 'unknown_group',
        '') AS excluded
FROM seen
COMMENT 'Units of an experiment: group and time of the first exposure, and why a unit is excluded (empty = it is not)';

-- What they did: one row per metric and unit with at least one event that counts.
--
-- Metrics that take every event of a name, to the end, share one pass over the
-- facts; each of the others has its own conditions looked at event by event. The
-- ids of an event are read only for experiments on other units than users, since
-- an event that names a user has the user as its primary unit.
CREATE OR REPLACE VIEW experiment_unit_values{{.OnCluster}} AS
WITH
    (
        SELECT (
            argMax(e.environment, e.version),
            argMax(e.unit_type, e.version),
            argMax(if(isNull(e.ended_at), 4398046511104, toUInt64(toUnixTimestamp64Milli(assumeNotNull(e.ended_at)))), e.version),
            argMax(e.metrics, e.version)
        )
        FROM experiments AS e
        WHERE e.project = {project:String} AND e.name = {experiment:String}
    ) AS study,
    measured AS (
        SELECT
            m.name AS metric, m.type AS type, m.event AS event, m.value_key AS value_key, m.filters AS filters, m.window_ms AS window_ms,
            value_key = '' AND empty(filters) AND window_ms = 0 AS plain
        FROM metrics AS m FINAL
        WHERE m.project = {project:String} AND has(study.4, m.metric_id)
    ),
    units AS (
        SELECT unit_key, group_index, first_exposure
        FROM experiment_units(project = {project:String}, experiment = {experiment:String})
        WHERE excluded = ''
    ),
    plain_values AS (
        SELECT h.event AS event, h.unit_key AS unit_key, any(u.group_index) AS group_index, count() AS events, count(h.value) AS values, sum(h.value) AS total
        FROM (
            SELECT
                e.event AS event,
                if(study.2 = 'userID', e.unit_key, if(e.unit_type = study.2, e.unit_key, xxHash64(concat(study.2, '\x1f', e.unit_ids[study.2])))) AS unit_key,
                e.ts AS ts,
                e.value AS value
            FROM events AS e FINAL
            WHERE e.project = {project:String}
              AND e.event IN (SELECT event FROM measured WHERE plain)
              AND e.environment = study.1
              AND if(study.2 = 'userID', e.unit_type = 'userID', e.unit_type = study.2 OR e.unit_ids[study.2] != '')
              AND e.ts < fromUnixTimestamp64Milli(toInt64(study.3), 'UTC')
        ) AS h
        INNER JOIN units AS u ON h.unit_key = u.unit_key
        WHERE h.ts >= u.first_exposure
        GROUP BY event, unit_key
    ),
    picked_values AS (
        SELECT
            m.metric AS metric,
            m.type AS type,
            h.unit_key AS unit_key,
            any(u.group_index) AS group_index,
            count() AS events,
            countIf(isNotNull(if(m.value_key = '', h.value, toFloat64OrNull(h.metadata[m.value_key])) AS v)) AS values,
            sum(v) AS total
        FROM (
            SELECT
                e.event AS event,
                if(study.2 = 'userID', e.unit_key, if(e.unit_type = study.2, e.unit_key, xxHash64(concat(study.2, '\x1f', e.unit_ids[study.2])))) AS unit_key,
                e.ts AS ts,
                e.value AS value,
                e.metadata AS metadata
            FROM events AS e FINAL
            WHERE e.project = {project:String}
              AND e.event IN (SELECT event FROM measured WHERE NOT plain)
              AND e.environment = study.1
              AND if(study.2 = 'userID', e.unit_type = 'userID', e.unit_type = study.2 OR e.unit_ids[study.2] != '')
              AND e.ts < fromUnixTimestamp64Milli(toInt64(study.3), 'UTC')
        ) AS h
        INNER JOIN units AS u ON h.unit_key = u.unit_key
        INNER JOIN (SELECT * FROM measured WHERE NOT plain) AS m ON h.event = m.event
        WHERE h.ts >= u.first_exposure
          AND (m.window_ms = 0 OR h.ts < u.first_exposure + toIntervalMillisecond(m.window_ms))
          AND arrayAll(f -> has(f.values, h.metadata[f.key]) != f.negate, m.filters)
        GROUP BY metric, type, unit_key
    ),
    per_unit AS (
        SELECT m.metric AS metric, m.type AS type, p.unit_key AS unit_key, p.group_index AS group_index, p.events AS events, p.values AS values, p.total AS total
        FROM plain_values AS p
        INNER JOIN (SELECT * FROM measured WHERE plain) AS m ON p.event = m.event
        UNION ALL
        SELECT metric, type, unit_key, group_index, events, values, total
        FROM picked_values
    )
SELECT
    metric,
    type,
    unit_key,
    group_index,
    multiIf(type = 'event_user', 1., type = 'event_count', toFloat64(events), ifNull(total, 0.)) AS value,
    if(type = 'mean', toFloat64(values), 1.) AS weight
FROM per_unit
WHERE type NOT IN ('sum', 'mean') OR values > 0
COMMENT 'Value of each metric for each unit of an experiment that has one; units without a row count as 0, and not at all for a mean, which is sum(value) / sum(weight)';

-- All that statistics needs: one row per metric and group with at least one value.
CREATE OR REPLACE VIEW experiment_moments{{.OnCluster}} AS
SELECT
    metric,
    type,
    group_index,
    count() AS units,
    avg(value) AS mean,
    varPopStable(value) * units AS m2,
    avg(weight) AS weight_mean,
    varPopStable(weight) * units AS weight_m2,
    covarPopStable(value, weight) * units AS co_moment
FROM experiment_unit_values(project = {project:String}, experiment = {experiment:String})
GROUP BY metric, type, group_index
COMMENT 'Moments of the units that have a value, per metric and group: mean, and sums of squared deviations';

-- The scorecard: one row per metric and group, the numbers of the results API.
--
-- Welch's test runs over unit values, zeros included, so a metric's values of
-- one experiment are in memory at once, eight bytes a unit. The units of a mean
-- enter as r + (value - r * weight) / mean weight, with r the mean of their
-- group: their variance is that of the delta method for a ratio of two sums.
CREATE OR REPLACE VIEW experiment_results{{.OnCluster}} AS
WITH
    (
        SELECT (argMax(e.groups, e.version), argMax(e.metrics, e.version))
        FROM experiments AS e
        WHERE e.project = {project:String} AND e.name = {experiment:String}
    ) AS study,
    greatest(indexOf(arrayMap(g -> g.control, study.1), true), 1) - 1 AS control,
    sizes AS (
        SELECT group_index, count() AS units
        FROM experiment_units(project = {project:String}, experiment = {experiment:String})
        WHERE excluded = ''
        GROUP BY group_index
    ),
    measured AS (
        SELECT
            metric,
            group_index,
            groupArray(value) AS sample,
            groupArray(weight) AS weights,
            sum(value) / sum(weight) AS ratio,
            avg(weight) AS mean_weight
        FROM experiment_unit_values(project = {project:String}, experiment = {experiment:String})
        GROUP BY metric, group_index
    ),
    samples AS (
        SELECT
            g.metric AS metric,
            g.type AS type,
            g.group_index AS group_index,
            ifNull(s.units, 0) AS units,
            if(g.type = 'mean',
                arrayMap((y, d) -> v.ratio + (y - v.ratio * d) / v.mean_weight, v.sample, v.weights),
                arrayConcat(v.sample, arrayWithConstant(greatest(toInt64(units) - toInt64(length(v.sample)), 0), 0.))) AS sample
        FROM (
            SELECT name AS metric, type, toUInt8(arrayJoin(range(length(study.1)))) AS group_index
            FROM metrics FINAL
            WHERE project = {project:String} AND has(study.2, metric_id)
        ) AS g
        LEFT JOIN sizes AS s ON g.group_index = s.group_index
        LEFT JOIN measured AS v ON g.metric = v.metric AND g.group_index = v.group_index
    ),
    pairs AS (
        SELECT
            metric,
            type,
            arm.1 AS group_index,
            arm.2 AS units,
            arm.3 AS sample,
            base_sample
        FROM (
            SELECT
                metric,
                type,
                groupArray((group_index, units, sample)) AS arms,
                arrayFirst(a -> a.1 = control, arms).3 AS base_sample
            FROM samples
            GROUP BY metric, type
        )
        ARRAY JOIN arms AS arm
    ),
    compared AS (
        SELECT
            metric, type, group_index, units,
            group_index = control AS is_control,
            length(sample) AS n,
            length(base_sample) AS base_n,
            if(n > 0, arrayAvg(sample), NULL) AS mean,
            if(n > 1, arrayReduce('varSampStable', sample), NULL) AS variance,
            if(base_n > 0, arrayAvg(base_sample), NULL) AS base,
            if(base_n > 1, arrayReduce('varSampStable', base_sample), NULL) / base_n AS base_error,
            if(is_control, NULL, mean - base) AS difference,
            if(is_control OR variance / n + base_error <= 0, NULL, variance / n + base_error) AS squared_error,
            arrayReduce('welchTTest(0.95)', arrayConcat(sample, base_sample), arrayConcat(arrayWithConstant(n, 0), arrayWithConstant(base_n, 1))) AS test,
            if(isNull(squared_error), NULL, test.2) AS p,
            if(isNull(squared_error), NULL, abs(test.4 - test.3) / 2) AS half,
            -- Fieller: all lifts l for which difference - l * base is within the critical value of 0.
            half * half / squared_error AS critical_squared,
            base * base - critical_squared * base_error AS fa,
            difference * base + critical_squared * base_error AS fb,
            difference * difference - half * half AS fc,
            fb + if(fb < 0, -1, 1) * sqrt(greatest(fb * fb - fa * fc, 0)) AS q,
            if(fa > 0, if(q = 0, sqrt(greatest(-fc / fa, 0)), q / fa) * sign(base), NULL) AS bound_1,
            if(fa > 0, if(q = 0, -sqrt(greatest(-fc / fa, 0)), fc / q) * sign(base), NULL) AS bound_2
        FROM pairs
    )
SELECT
    metric,
    type,
    group_index,
    study.1[group_index + 1].name AS group,
    is_control,
    units,
    n,
    if(type = 'event_user', toUInt64(round(ifNull(mean, 0) * n)), NULL) AS conversions,
    if(type = 'mean', NULL, ifNull(mean, 0) * n) AS total,
    mean,
    variance,
    difference,
    sqrt(squared_error) AS standard_error,
    difference - half AS difference_low,
    difference + half AS difference_high,
    p AS p_value,
    if(base = 0, NULL, difference / abs(base)) AS lift,
    if(base = 0, NULL, least(bound_1, bound_2)) AS lift_low,
    if(base = 0, NULL, greatest(bound_1, bound_2)) AS lift_high
FROM compared
ORDER BY metric, group_index
COMMENT 'Scorecard of an experiment, per metric and group: units exposed, units compared (n), total, mean (share of units for event_user, value per event for mean), difference from control and lift with 95 % intervals (Welch, Fieller), p-value; NULL where there is none';
