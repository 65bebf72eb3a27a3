-- +goose Up

-- What a report needs of a rollup is a few numbers a group: they are made once,
-- with the rollup, so that whoever looks again reads a row and not all units.

ALTER TABLE rollups{{.OnCluster}}
    ADD COLUMN IF NOT EXISTS units Array(Tuple(
        group_index UInt8, excluded String, units UInt64
    )) COMMENT 'Units per group, and those that are excluded by reason (empty = analysed)',
    ADD COLUMN IF NOT EXISTS moments Array(Tuple(
        metric_id String, group_index UInt8, analysed UInt64, immature UInt64, n UInt64, covered UInt64, limited Array(UInt64),
        means Array(Float64), products Array(Float64), steps Array(UInt64), quantile Array(Float64), clusters Array(Float64)
    )) COMMENT 'Per metric and group: units analysed, immature, with a value (n), and with a covariate; how many of each of the four values were above its cap; means of the four values (value, weight, and both before the first exposure), and sums of products of their deviations, row by row; units per step of a funnel; a quantile with its bounds (value, lower, upper, number of values), and the moments of its clusters',
    ADD COLUMN IF NOT EXISTS first_sequence UInt64 COMMENT 'Lowest version of the project that an exposure was decided by; 0 = unknown',
    ADD COLUMN IF NOT EXISTS last_sequence UInt64 COMMENT 'Highest version of the project that an exposure was decided by';
