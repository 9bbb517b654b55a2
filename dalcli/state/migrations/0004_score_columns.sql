-- A score table can hold some columns and gain others later: a shard is a list of samples, and each of its files holds
-- some groups of columns. What a table was made with is a JSON object now, no longer a line of text.

ALTER TABLE score_table RENAME COLUMN fingerprint TO settings;
-- Tables with sketches, a prescreen or dropout samples are made again: derived data, only their text could tell how.
DELETE FROM score_table WHERE instr(settings, ' ') > 0;
UPDATE score_table
SET settings = json_object('pixels', settings, 'gradients', json_object(), 'dropout', NULL);

CREATE TABLE score_file (
    model    INTEGER NOT NULL REFERENCES score_table (model) ON DELETE CASCADE,
    ordinal  INTEGER NOT NULL,   -- of the shard
    file     TEXT NOT NULL,
    contents TEXT NOT NULL CHECK (json_valid(contents)),   -- the groups of columns that count in it
    samples  INTEGER NOT NULL,
    seconds  REAL NOT NULL,
    PRIMARY KEY (model, ordinal, file)
) STRICT;
INSERT INTO score_file (model, ordinal, file, contents, samples, seconds)
SELECT model, ordinal, file, json_array('gradients', 'predictions'), samples, seconds FROM score_shard;
DROP TABLE score_shard;
