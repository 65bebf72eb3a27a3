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
-- started), or more than that has to be known (crossovers stay where they were
-- first, unless they saw two groups in that instant), the exposures are asked.
--
-- Clocks of clients may be ahead: who was first seen later than now takes part
-- once that time has come. Where first_exposures is asked, that somebody will
-- see a second group in a moment makes a crossover at once.
CREATE OR REPLACE VIEW experiment_units{{.OnCluster}} AS
WITH
    (
        SELECT (
            argMax(e.environment, e.version),
            argMax(e.unit_type, e.version),
            toUInt64(toUnixTimestamp64Milli(argMax(e.started_at, e.version))),
            argMax(if(isNull(e.ended_at), 4398046511104, toUInt64(toUnixTimestamp64Milli(assumeNotNull(e.ended_at)))), e.version),
            toUInt64(length(argMax(e.groups, e.version))),
            argMax(e.crossovers, e.version) = 'first'
        )
        FROM experiments AS e
        WHERE e.project = {project:String} AND e.name = {experiment:String}
    ) AS study,
    (
        SELECT study.4 != 4398046511104 OR study.6 OR min(f.first) < study.3 * 512
        FROM first_exposures AS f
        WHERE f.project = {project:String} AND f.name = {experiment:String} AND f.kind = 'experiment'
          AND f.environment = study.1 AND f.unit_type = study.2
    ) AS bounded,
    seen AS (
        SELECT f.unit_key AS unit_key, min(f.first) AS first, groupBitOr(f.mask) AS mask, 0 AS tied
        FROM first_exposures AS f
        WHERE NOT bounded
          AND f.project = {project:String} AND f.name = {experiment:String} AND f.kind = 'experiment'
          AND f.environment = study.1 AND f.unit_type = study.2
        GROUP BY unit_key
        UNION ALL
        SELECT
            e.unit_key AS unit_key,
            min(toUInt64(toUnixTimestamp64Milli(e.ts)) * 512 + (NOT e.override) * 256 + e.group_index) AS first,
            groupBitOr(bitShiftLeft(toUInt64(1), least(e.group_index, 63))) AS mask,
            -- First has the lowest group of its instant, and this the highest.
            255 - min(toUInt64(toUnixTimestamp64Milli(e.ts)) * 256 + 255 - e.group_index) % 256 != first % 256 AS tied
        FROM exposures AS e
        WHERE bounded
          AND e.project = {project:String} AND e.name = {experiment:String} AND e.kind IN ('experiment', 'layer')
          AND e.environment = study.1 AND e.unit_type = study.2 AND e.group_index != 255
          AND e.ts >= fromUnixTimestamp64Milli(toInt64(study.3), 'UTC') AND e.ts < least(fromUnixTimestamp64Milli(toInt64(study.4), 'UTC'), now64(3, 'UTC'))
        GROUP BY unit_key
        UNION ALL
        SELECT unit_key, first, mask, 0 AS tied
        FROM gate_exposures(project = {project:String}, experiment = {experiment:String})
    )
SELECT
    unit_key,
    toUInt8(first % 256) AS group_index,
    fromUnixTimestamp64Milli(toInt64(intDiv(first, 512)), 'UTC') AS first_exposure,
    multiIf(
        bitAnd(first, 256) = 0, 'override',
        crossed AND (tied OR NOT study.6), 'crossover',
        group_index >= study.5, 'unknown_group',
        '') AS excluded,
    bitCount(mask) > 1 AS crossed
FROM seen
WHERE first < toUInt64(toUnixTimestamp64Milli(now64(3))) * 512
COMMENT 'Units of an experiment: group and time of the first exposure, why a unit is excluded (empty = it is not), and whether it saw more than one group';

-- What they did: one row per metric and unit that has a value.
--
-- These are the units' values of the rollup that counts (see rollups): that of
-- the last report, or of the last time that control looked for new facts. The
-- definitions of metrics, their windows and filters, went into it; caps are
-- applied here.
CREATE OR REPLACE VIEW experiment_unit_values{{.OnCluster}} AS
WITH (
    SELECT (
        argMax(r.revision, r.revision),
        toUnixTimestamp64Milli(argMax(r.as_of, r.revision)),
        argMax(r.metrics, r.revision)
    )
    FROM rollups AS r
    WHERE r.project = {project:String} AND r.experiment = {experiment:String}
) AS rollup
SELECT
    m.name AS metric,
    m.type AS type,
    unit_key,
    group_index,
    least(values[m.y], m.caps[1]) AS value,
    if(m.d = 0, 1., least(values[m.d], m.caps[2])) AS weight,
    m.x > 0 AND NOT isNaN(values[m.x]) AS has_covariate,
    if(has_covariate, least(values[m.x], m.caps[3]), 0.) AS covariate,
    if(m.x_d = 0, 1., least(values[m.x_d], m.caps[4])) AS covariate_weight,
    m.d > 0 AND m.sample = 0 AS is_ratio,
    if(m.sample = 0, CAST([] AS Array(Float64)), samples[m.sample]) AS sample
FROM (
    SELECT unit_key, group_index, values, samples, first_exposure, arrayJoin(rollup.3) AS m
    FROM unit_values
    WHERE revision = rollup.1 AND project = {project:String} AND experiment = {experiment:String} AND excluded = ''
)
WHERE toUnixTimestamp64Milli(first_exposure) + toInt64(m.matures_ms) <= greatest(rollup.2, toUnixTimestamp64Milli(first_exposure) * (m.matures_ms = 0))
  AND NOT isNaN(values[m.y])
COMMENT 'Value of each metric for each unit of an experiment that has one, and of the covariate before its first exposure. A ratio (is_ratio) is sum(value) / sum(weight); of a percentile of events, sample holds the unit''s events';

-- All that statistics needs: one row per metric and group with at least one value.
CREATE OR REPLACE VIEW experiment_moments{{.OnCluster}} AS
SELECT
    metric,
    type,
    group_index,
    count() AS units,
    sumKahan(value) / units AS mean,
    varPopStable(value) * units AS m2,
    sumKahan(weight) / units AS weight_mean,
    varPopStable(weight) * units AS weight_m2,
    covarPopStable(value, weight) * units AS co_moment,
    countIf(has_covariate) AS units_with_covariate,
    sumKahan(covariate) / units AS covariate_mean,
    varPopStable(covariate) * units AS covariate_m2,
    covarPopStable(value, covariate) * units AS covariate_co_moment
FROM experiment_unit_values(project = {project:String}, experiment = {experiment:String})
GROUP BY metric, type, group_index
COMMENT 'Moments of the units that have a value, per metric and group: mean, and sums of squared deviations';

-- The scorecard: one row per metric and group, the numbers of the results API.
--
-- Welch's test runs over unit values, zeros included, so a metric's values of
-- one experiment are in memory at once, eight bytes a unit. The units of a ratio
-- enter as r + (value - r * weight) / mean weight, with r the ratio of their
-- group: their variance is that of the delta method for a ratio of two sums.
-- Percentiles are shown and not compared: their variance is not one of units.
CREATE OR REPLACE VIEW experiment_results{{.OnCluster}} AS
WITH
    (
        SELECT tuple(argMax(e.groups, e.version))
        FROM experiments AS e
        WHERE e.project = {project:String} AND e.name = {experiment:String}
    ) AS study,
    greatest(indexOf(arrayMap(g -> g.control, study.1), true), 1) - 1 AS control,
    sizes AS (
        SELECT v.group_index AS group_index, count() AS units
        FROM unit_values AS v
        WHERE v.project = {project:String} AND v.experiment = {experiment:String} AND v.excluded = ''
          AND v.revision = (SELECT max(revision) FROM rollups WHERE project = {project:String} AND experiment = {experiment:String})
        GROUP BY group_index
    ),
    measured AS (
        SELECT
            metric,
            group_index,
            any(is_ratio) AS ratios,
            if(any(type) = 'percentile', arraySort(arrayConcat(groupArrayArray(sample), groupArrayIf(value, weight = 1 AND empty(sample)))), groupArray(value)) AS sample,
            groupArrayIf(weight, is_ratio) AS weights,
            sum(value) / sum(weight) AS ratio,
            avg(weight) AS mean_weight
        FROM experiment_unit_values(project = {project:String}, experiment = {experiment:String})
        GROUP BY metric, group_index
    ),
    samples AS (
        SELECT
            g.metric AS metric,
            g.type AS type,
            g.level AS level,
            g.is_ratio AS is_ratio,
            g.group_index AS group_index,
            ifNull(s.units, 0) AS units,
            if(v.ratios, arrayMap((y, d) -> v.ratio + (y - v.ratio * d) / v.mean_weight, v.sample, v.weights), v.sample) AS sample
        FROM (
            SELECT m.name AS metric, m.type AS type, m.level AS level, m.d > 0 AND m.sample = 0 AS is_ratio, toUInt8(arrayJoin(range(length(study.1)))) AS group_index
            FROM (
                SELECT arrayJoin(argMax(r.metrics, r.revision)) AS m
                FROM rollups AS r
                WHERE r.project = {project:String} AND r.experiment = {experiment:String}
            )
        ) AS g
        LEFT JOIN sizes AS s ON g.group_index = s.group_index
        LEFT JOIN measured AS v ON g.metric = v.metric AND g.group_index = v.group_index
    ),
    pairs AS (
        SELECT
            metric,
            type,
            level,
            is_ratio,
            arm.1 AS group_index,
            arm.2 AS units,
            arm.3 AS sample,
            base_sample
        FROM (
            SELECT
                metric,
                type,
                any(level) AS level,
                any(is_ratio) AS is_ratio,
                groupArray((group_index, units, sample)) AS arms,
                arrayFirst(a -> a.1 = control, arms).3 AS base_sample
            FROM samples
            GROUP BY metric, type
        )
        ARRAY JOIN arms AS arm
    ),
    -- Step by step, each in a query of its own: an alias that stands on others is
    -- written out wherever it is used, so one long list of them grows beyond bounds.
    described AS (
        SELECT
            metric, type, is_ratio, level, group_index, units, sample, base_sample,
            type = 'percentile' AS is_percentile,
            group_index = control AS is_control,
            length(sample) AS n,
            length(base_sample) AS base_n,
            level * greatest(toInt64(length(sample)) - 1, 0) AS place,
            if(base_n > 0, arrayReduce('sumKahan', base_sample) / base_n, NULL) AS base,
            if(n > 1 AND NOT is_percentile, arrayReduce('varSampStable', sample), NULL) AS spread,
            if(base_n > 1, arrayReduce('varSampStable', base_sample), NULL) AS base_spread
        FROM pairs
    ),
    averaged AS (
        SELECT
            * EXCEPT (place, level),
            toUInt64(floor(place)) AS rank,
            multiIf(n = 0, NULL, is_percentile, sample[rank + 1] + (place - rank) * (sample[least(rank + 2, n)] - sample[rank + 1]), arrayReduce('sumKahan', sample) / n) AS mean
        FROM described
    ),
    -- Sums and squares of huge values overflow: no number is given for them.
    finite AS (
        SELECT * REPLACE (
            if(isFinite(mean), mean, NULL) AS mean,
            if(isFinite(base), base, NULL) AS base,
            if(isFinite(spread), spread, NULL) AS spread,
            if(isFinite(base_spread), base_spread, NULL) AS base_spread)
        FROM averaged
    ),
    spread_out AS (
        SELECT
            * EXCEPT (rank, spread, base_spread),
            -- Units that all have the same ratio differ by what rounding leaves.
            if(is_ratio AND spread <= 1e-26 * mean * mean, 0, spread) AS variance,
            if(is_ratio AND base_spread <= 1e-26 * base * base, 0, base_spread) / base_n AS base_error,
            if(is_control OR is_percentile, NULL, mean - base) AS difference
        FROM finite
    ),
    tested AS (
        SELECT
            * EXCEPT (sample, base_sample),
            variance / n + base_error AS noise,
            -- welchTTest squares variances, and refuses all rows for one of which it cannot. It
            -- takes them from sums of squares, which large values lose all digits of: values
            -- go in as distances from the mean of control.
            ifNull(NOT is_control AND noise > 1e-150 AND noise < 1e150 AND abs(mean) < 1e150 AND abs(base) < 1e150, 0) AS testable,
            if(testable, noise, NULL) AS squared_error,
            arrayReduce('welchTTest(0.95)', if(testable, arrayMap(v -> v - assumeNotNull(base), arrayConcat(sample, base_sample)), [0., 1., 0., 1.]),
                if(testable, arrayConcat(arrayWithConstant(n, 0), arrayWithConstant(base_n, 1)), [0, 0, 1, 1])) AS test
        FROM spread_out
    ),
    measurable AS (
        SELECT
            * EXCEPT (test, noise, testable),
            if(isNull(squared_error), NULL, test.2) AS p,
            if(isNull(squared_error), NULL, abs(test.4 - test.3) / 2) AS half
        FROM tested
    ),
    -- Fieller: all lifts l for which difference - l * base is within the critical
    -- value of 0, the roots of fa * l * l - 2 * fb * l + fc. The names are those of
    -- lambdas, which are not written out: planning this as columns took seconds.
    compared AS (
        SELECT
            *,
            arrayMap((d, b, w, h, v) -> arrayMap(k -> arrayMap((fa, fb, fc) -> arrayMap(q ->
                if(fa > 0, [if(q = 0, sqrt(greatest(-fc / fa, 0)), q / fa) * sign(b), if(q = 0, -sqrt(greatest(-fc / fa, 0)), fc / q) * sign(b)], [NULL, NULL]),
                [fb + if(fb < 0, -1, 1) * sqrt(greatest(fb * fb - fa * fc, 0))])[1],
                [b * b - k * w], [d * b + k * w], [d * d - h * h])[1],
                [h * h / v])[1],
                [difference], [base], [base_error], [half], [squared_error])[1] AS bounds
        FROM measurable
    )
SELECT
    metric,
    type,
    group_index,
    study.1[group_index + 1].name AS group,
    is_control,
    units,
    n,
    if(type IN ('event_user', 'retention') OR type = 'funnel' AND NOT is_ratio, toUInt64(round(ifNull(mean, 0) * n)), NULL) AS conversions,
    if(is_ratio OR is_percentile OR n > 0 AND isNull(mean), NULL, ifNull(mean, 0) * n) AS total,
    mean,
    variance,
    difference,
    sqrt(squared_error) AS standard_error,
    difference - half AS difference_low,
    difference + half AS difference_high,
    p AS p_value,
    if(base = 0, NULL, difference / abs(base)) AS lift,
    if(base = 0, NULL, least(bounds[1], bounds[2])) AS lift_low,
    if(base = 0, NULL, greatest(bounds[1], bounds[2])) AS lift_high
FROM compared
ORDER BY metric, group_index
COMMENT 'Scorecard of an experiment, per metric and group: units exposed, units compared (n), total, mean (share of units for event_user, value per event for mean), difference from control and lift with 95 % intervals (Welch, Fieller), p-value; NULL where there is none';
