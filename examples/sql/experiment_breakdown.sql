-- What each group came to, by what was known of the units when they entered: as
-- `?by=` of the results API. A dimension is sdk, sdkVersion, reason, rule, layer,
-- day, or user.<name>, an attribute that the project keeps.
SELECT v.metric AS metric, d.value AS value, v.group_index AS group_index, count() AS n, sum(v.value) / sum(v.weight) AS mean
FROM experiment_unit_values(project = {project:String}, experiment = {experiment:String}) AS v
LEFT ANY JOIN experiment_dimension(project = {project:String}, experiment = {experiment:String}, dimension = {dimension:String}) AS d ON v.unit_key = d.unit_key
GROUP BY metric, value, group_index
ORDER BY metric, n DESC, value, group_index
