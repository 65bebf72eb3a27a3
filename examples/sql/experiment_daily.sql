-- How many units each group of an experiment gained, day by day (UTC).
SELECT toDate(first_exposure) AS day, group_index, count() AS units
FROM experiment_units(project = {project:String}, experiment = {experiment:String})
WHERE excluded = ''
GROUP BY day, group_index
ORDER BY day, group_index
