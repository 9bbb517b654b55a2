-- Which measurements were logged elsewhere (MLflow, a file of JSON lines): each once a place.

CREATE TABLE tracked (
    place      TEXT NOT NULL,                   -- a short name of the address and the experiment there
    evaluation INTEGER NOT NULL REFERENCES evaluation (id),
    tracked_at TEXT NOT NULL,
    PRIMARY KEY (place, evaluation)
) STRICT, WITHOUT ROWID;
