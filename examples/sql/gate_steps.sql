-- Which steps the rollouts of gates had, the newest first.
SELECT gate, rule, step, percentage, started_at, ended_at
FROM gate_steps
WHERE project = {project:String}
ORDER BY started_at DESC, gate, rule
