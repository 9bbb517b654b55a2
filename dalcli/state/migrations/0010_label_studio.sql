-- Label Studio: where batches went, and which annotations were taken back from there. Never how one gets in.

CREATE TABLE label_studio_project (
    id       INTEGER PRIMARY KEY,
    server   TEXT NOT NULL,                     -- its address, without a slash at the end
    project  INTEGER NOT NULL,                  -- the project's number there
    used_at  TEXT NOT NULL,                     -- when a batch was last pushed to it, or a pull last named it
    UNIQUE (server, project)
) STRICT;

-- An annotation as it was when it was read: one that was changed since has another time, and is read again.
CREATE TABLE label_studio_annotation (
    project    INTEGER NOT NULL REFERENCES label_studio_project (id),
    annotation INTEGER NOT NULL,                -- its number on the server
    updated_at TEXT NOT NULL,                   -- as the server writes it
    PRIMARY KEY (project, annotation)
) STRICT, WITHOUT ROWID;
