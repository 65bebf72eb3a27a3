-- What is logged, how often, by how many units, and what its values come to.
SELECT event, count() AS events, uniqExact(unit_key) AS units, min(ts) AS since, max(ts) AS until, sum(value) AS total
FROM events FINAL
WHERE project = {project:String}
GROUP BY event
ORDER BY events DESC
