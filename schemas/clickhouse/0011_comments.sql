-- +goose Up

-- Who reads these tables by hand has to know it.

ALTER TABLE {{.Local "exposures"}}{{.OnCluster}} MODIFY COMMENT
    'Which unit got which value by which rule, one row per exposure. A repetition that reached another process is a row of its own until a merge: read with FINAL, or SETTINGS final = 1, as the user analyst does without saying so';

ALTER TABLE {{.Local "events"}}{{.OnCluster}} MODIFY COMMENT
    'What units did, one row per event. A repetition that reached another process is a row of its own until a merge: read with FINAL, or SETTINGS final = 1, as the user analyst does without saying so';
