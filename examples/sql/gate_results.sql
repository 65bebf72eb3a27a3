-- The scorecard of one step of a gate's rollout, Pass against Fail: the numbers
-- that the results API gives. Which steps there are: table gate_steps.
SELECT metric, group, units, n, mean, lift, lift_low, lift_high, p_value
FROM gate_results(project = {project:String}, gate = {gate:String}, rule = {rule:String}, step = {step:UInt32})
