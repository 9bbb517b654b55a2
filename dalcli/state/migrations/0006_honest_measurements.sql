-- What a measurement leaves besides its report: the temperature that calibrates the version (NULL: too few labels, or
-- measured by an older program), and what the version said of every example (NULL: measured by an older program), as
-- dalcli/evaluation/outcomes.py packs it: for paired tests between versions.
ALTER TABLE evaluation ADD COLUMN temperature REAL;
ALTER TABLE evaluation ADD COLUMN outcomes BLOB;

-- What choosing has gained over drawing at random, measured with the settings of one version: a JSON object.
CREATE TABLE control_gain (
    id          INTEGER PRIMARY KEY,
    model       INTEGER NOT NULL REFERENCES model_version (id),
    inputs      TEXT NOT NULL,      -- a name for the labels, arms and settings that went into it
    gain        TEXT NOT NULL CHECK (json_valid(gain)),
    measured_at TEXT NOT NULL,
    UNIQUE (model, inputs)
) STRICT;
