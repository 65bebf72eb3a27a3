-- Who got what by which rule, most recent first.
SELECT ts, kind, name, unit_type, unit_id, value, rule_id, override, sequence
FROM exposures FINAL
WHERE project = {project:String} AND name = {experiment:String}
ORDER BY ts DESC
LIMIT 100
