-- How an experiment came to have its units, and whether they can be trusted.
-- Both views ask experiment_units, so steps of gates have them too.

CREATE OR REPLACE VIEW experiment_daily{{.OnCluster}} AS
WITH
    (
        SELECT argMax(p.time_zone, p.version)
        FROM projects AS p
        WHERE p.project = {project:String}
    ) AS zone,
    entered AS (
        SELECT toDate(first_exposure, if(zone = '', 'UTC', zone)) AS day, group_index, count() AS new_units
        FROM experiment_units(project = {project:String}, experiment = {experiment:String})
        WHERE excluded = ''
        GROUP BY day, group_index
    ),
    days AS (
        SELECT arrayJoin(arrayMap(i -> addDays(min(day), i), range(toUInt64(dateDiff('day', min(day), max(day)) + 1)))) AS day
        FROM entered
        HAVING count() > 0
    )
SELECT
    g.day AS day,
    g.group_index AS group_index,
    g.group AS group,
    e.new_units AS new_units,
    sum(e.new_units) OVER (PARTITION BY g.group_index ORDER BY g.day ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS units
FROM (
    SELECT d.day AS day, x.group_index AS group_index, x.group AS group
    FROM days AS d
    CROSS JOIN (SELECT group_index, group FROM experiment_groups WHERE project = {project:String} AND experiment = {experiment:String}) AS x
) AS g
LEFT JOIN entered AS e ON g.day = e.day AND g.group_index = e.group_index
ORDER BY day, group_index
COMMENT 'Units of an experiment day by day (in the time zone of the project), per group: those that entered on the day, and all that had entered by its end; excluded ones are left out';

CREATE OR REPLACE VIEW exposure_health{{.OnCluster}} AS
WITH counted AS (
    SELECT
        group_index,
        count() AS exposed,
        countIf(excluded = '') AS analysed,
        countIf(excluded = 'override') AS by_override,
        countIf(excluded = 'crossover') AS in_two_groups,
        countIf(excluded = 'unknown_group') AS in_no_group,
        min(first_exposure) AS first_at,
        max(first_exposure) AS last_at
    FROM experiment_units(project = {project:String}, experiment = {experiment:String})
    GROUP BY group_index
)
SELECT
    a.group_index AS group_index,
    if(g.group = '', 'none of its groups', g.group) AS group,
    c.exposed AS exposed,
    c.analysed AS analysed,
    c.by_override AS by_override,
    c.in_two_groups AS in_two_groups,
    c.in_no_group AS in_no_group,
    if(g.group = '', NULL, g.share) AS share,
    sum(c.analysed) OVER () * g.share / nullIf(sum(g.share) OVER (), 0) AS expected,
    if(expected > 0, (c.analysed - expected) * (c.analysed - expected) / expected, NULL) AS chi_squared,
    if(c.exposed = 0, NULL, c.first_at) AS first_exposure,
    if(c.exposed = 0, NULL, c.last_at) AS last_exposure
FROM (
    SELECT group_index FROM experiment_groups WHERE project = {project:String} AND experiment = {experiment:String}
    UNION DISTINCT
    SELECT group_index FROM counted
) AS a
LEFT JOIN counted AS c ON a.group_index = c.group_index
LEFT JOIN (
    SELECT group_index, group, share FROM experiment_groups WHERE project = {project:String} AND experiment = {experiment:String}
) AS g ON a.group_index = g.group_index
ORDER BY group_index
COMMENT 'Units of an experiment per group: exposed, analysed, left out by reason, and expected by the groups'' shares; the sum of chi_squared is the statistic of the sample ratio test';
