-- How many units each group has beside what its share makes expect, how many are
-- left out, and why.
SELECT group, exposed, analysed, by_override, in_two_groups, share, expected, chi_squared, first_exposure, last_exposure
FROM exposure_health(project = {project:String}, experiment = {experiment:String})
ORDER BY group_index
