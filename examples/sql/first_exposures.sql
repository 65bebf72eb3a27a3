-- When each unit entered the experiment, and in which group. The table
-- first_exposures packs both into one number; this takes it apart.
SELECT
    e.unit_id,
    fromUnixTimestamp64Milli(toInt64(intDiv(f.packed, 512)), 'UTC') AS first_exposure,
    f.packed % 256 AS group_index,
    bitAnd(f.packed, 256) = 0 AS by_override,
    bitCount(f.seen) AS groups_seen
FROM (
    SELECT unit_key, min(first) AS packed, groupBitOr(mask) AS seen
    FROM first_exposures
    WHERE project = {project:String} AND name = {experiment:String} AND kind = 'experiment' AND environment = 'production'
    GROUP BY unit_key
) AS f
INNER JOIN (
    SELECT unit_key, any(unit_id) AS unit_id
    FROM exposures
    WHERE project = {project:String} AND name = {experiment:String}
    GROUP BY unit_key
) AS e ON f.unit_key = e.unit_key
ORDER BY first_exposure, unit_id
LIMIT 100
