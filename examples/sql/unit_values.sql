-- Each unit's value of each metric, for analyses of your own. Units without a
-- row did nothing: they count as 0, and for a metric of type mean not at all.
SELECT metric, group_index, unit_key, value, weight
FROM experiment_unit_values(project = {project:String}, experiment = {experiment:String})
ORDER BY metric, unit_key
LIMIT 100
