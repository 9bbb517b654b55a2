-- What a strategy remembers since a batch it chose: a JSON object, committed together with that batch. What counts is
-- the newest of a strategy; older ones are deleted, for each says all that the ones before it said.
CREATE TABLE strategy_memory (
    batch    INTEGER PRIMARY KEY REFERENCES batch (id),
    strategy TEXT NOT NULL,
    memory   TEXT NOT NULL CHECK (json_valid(memory))
) STRICT;
