-- When each unit came to a step of a gate, and whether it passed. The view packs
-- both into one number, as table first_exposures does; this takes it apart.
SELECT
    unit_key,
    fromUnixTimestamp64Milli(toInt64(intDiv(first, 512)), 'UTC') AS first_exposure,
    first % 256 = 1 AS passed,
    bitAnd(first, 256) = 0 AS by_override
FROM gate_exposures(project = {project:String}, experiment = concat('gate/', {gate:String}, '/', {rule:String}, '/', {step:String}))
ORDER BY first_exposure, unit_key
LIMIT 100
