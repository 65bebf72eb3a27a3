-- How many units each group of an experiment gained, day by day, and how
-- many it had by the end of the day.
SELECT day, group, new_units, units
FROM experiment_daily(project = {project:String}, experiment = {experiment:String})
ORDER BY day, group_index
