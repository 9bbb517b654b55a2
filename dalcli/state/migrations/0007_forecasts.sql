-- Every forecast that was made, as quantiles of the metric at several numbers of labels: to be held against what came.
-- What became of it is not kept: it follows from the measurements.
CREATE TABLE forecast (
    id        INTEGER PRIMARY KEY,
    model     INTEGER NOT NULL REFERENCES model_version (id),   -- the newest version it was made from
    metric    TEXT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('active', 'random')),
    points    INTEGER NOT NULL,      -- distinct numbers of labels it was made from
    labels    INTEGER NOT NULL,      -- the largest of them
    inputs    TEXT NOT NULL,         -- a name for the points and past errors that went into it
    quantiles TEXT NOT NULL CHECK (json_valid(quantiles)),   -- [{"labels", "p10", "p50", "p90"}, ...]
    made_at   TEXT NOT NULL,
    UNIQUE (model, metric, inputs)
) STRICT;

-- What models trained on random parts of the labels came to: one fit a row, so that a killed run continues.
CREATE TABLE subset_fit (
    id      INTEGER PRIMARY KEY,
    inputs  TEXT NOT NULL,           -- a name for labels, evaluation labels and settings that went into it
    size    INTEGER NOT NULL,
    seed    INTEGER NOT NULL,
    report  TEXT NOT NULL CHECK (json_valid(report)),
    seconds REAL NOT NULL,
    made_at TEXT NOT NULL,
    UNIQUE (inputs, size, seed)
) STRICT;
