-- The scorecard of an experiment: the numbers that the results API gives.
SELECT metric, group, units, n, mean, lift, lift_low, lift_high, p_value
FROM experiment_results(project = {project:String}, experiment = {experiment:String})
