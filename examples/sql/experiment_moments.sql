-- What the scorecard is computed from, for statistics of your own: here each
-- metric's mean and the standard error of that. A ratio needs all of its moments.
SELECT m.metric, g.group, m.units, m.mean, if(m.units > 1, sqrt(m.m2 / (m.units - 1) / m.units), NULL) AS standard_error
FROM experiment_moments(project = {project:String}, experiment = {experiment:String}) AS m
INNER JOIN experiment_groups AS g ON m.group_index = g.group_index
WHERE g.project = {project:String} AND g.experiment = {experiment:String}
ORDER BY m.metric, m.group_index
