-- Who takes part, since when and in which group, and who is left out and why; and
-- who saw more than one group.
SELECT unit_key, group_index, first_exposure, excluded, crossed
FROM experiment_units(project = {project:String}, experiment = {experiment:String})
ORDER BY first_exposure, unit_key
LIMIT 100
