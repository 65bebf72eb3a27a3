-- How many units each group has, how many are left out, and why.
SELECT
    ifNull(g.group, 'none of its groups') AS group,
    count() AS exposed,
    countIf(u.excluded = '') AS analysed,
    countIf(u.excluded = 'override') AS by_override,
    countIf(u.excluded = 'crossover') AS in_two_groups,
    any(g.share) AS share
FROM experiment_units(project = {project:String}, experiment = {experiment:String}) AS u
LEFT JOIN (
    SELECT * FROM experiment_groups WHERE project = {project:String} AND experiment = {experiment:String}
) AS g ON u.group_index = g.group_index
GROUP BY group
ORDER BY group
SETTINGS join_use_nulls = 1
