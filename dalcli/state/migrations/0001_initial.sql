-- The whole state of a workspace. What can be derived (who is labeled, what is in flight, which batch is open)
-- is a view, never a stored fact, so that no crash can leave two truths.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- The ordered class list: position is the index of the model's output. It only grows.
CREATE TABLE class (
    position INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    added_at TEXT NOT NULL
) STRICT;

-- One image, identified by its bytes.
CREATE TABLE sample (
    id               INTEGER PRIMARY KEY,
    sample_id        TEXT NOT NULL UNIQUE,
    purpose          TEXT NOT NULL CHECK (purpose IN ('training', 'evaluation')),
    reserve_position REAL NOT NULL,   -- u in [0, 1): keyed hash of (seed, content)
    width            INTEGER,
    height           INTEGER,
    quarantine       TEXT,            -- why it cannot be used; NULL means readable
    added_at         TEXT NOT NULL
) STRICT;
CREATE INDEX sample_by_purpose ON sample (purpose, reserve_position);

-- Where bytes were seen. Paths are relative to the workspace where inside it, so that it can be moved.
CREATE TABLE file (
    id       INTEGER PRIMARY KEY,
    path     TEXT NOT NULL UNIQUE,
    sample   INTEGER REFERENCES sample (id),   -- NULL: no bytes could be read
    size     INTEGER,
    mtime_ns INTEGER,
    problem  TEXT,
    added_at TEXT NOT NULL
) STRICT;
CREATE INDEX file_by_sample ON file (sample);

-- The label ledger: append-only.
CREATE TABLE vote (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    sample      INTEGER NOT NULL REFERENCES sample (id),
    class       INTEGER REFERENCES class (position),   -- NULL: could not be labeled (skipped)
    annotator   TEXT NOT NULL,
    labeled_at  TEXT,
    seconds     REAL,
    cost        REAL,
    file        TEXT NOT NULL,
    line        INTEGER NOT NULL,
    recorded_at TEXT NOT NULL
) STRICT;
CREATE INDEX vote_by_sample ON vote (sample, annotator, id);
CREATE TRIGGER vote_is_never_changed BEFORE UPDATE ON vote
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;
CREATE TRIGGER vote_is_never_deleted BEFORE DELETE ON vote
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;

CREATE VIEW latest_vote AS
SELECT v.*
FROM vote AS v
WHERE v.id = (SELECT max(w.id) FROM vote AS w WHERE w.sample = v.sample AND w.annotator = v.annotator);

-- What all annotators' latest votes say together. A skip does not outvote a label.
CREATE VIEW answer AS
SELECT sample,
       CASE WHEN count(class) = 0 THEN 'skipped'
            WHEN min(class) = max(class) THEN 'labeled'
            ELSE 'disputed' END AS state,
       CASE WHEN min(class) = max(class) THEN min(class) END AS class
FROM latest_vote
GROUP BY sample;

-- A list of samples issued by one query, with the bytes it printed.
CREATE TABLE batch (
    id         INTEGER PRIMARY KEY,
    batch_id   TEXT NOT NULL UNIQUE,
    key        TEXT UNIQUE,            -- query --new --key TEXT
    options    TEXT NOT NULL,          -- canonical JSON: what makes two queries "the same"
    purpose    TEXT NOT NULL CHECK (purpose IN ('training', 'evaluation')),
    requested  INTEGER NOT NULL,
    model      INTEGER REFERENCES model_version (id),
    after_vote INTEGER NOT NULL,       -- votes after this one answer the batch
    csv        BLOB NOT NULL,
    issued_at  TEXT NOT NULL
) STRICT;
CREATE TABLE batch_row (
    batch        INTEGER NOT NULL REFERENCES batch (id),
    rank         INTEGER NOT NULL,
    sample       INTEGER NOT NULL REFERENCES sample (id),
    score        REAL,
    pseudo_label INTEGER REFERENCES class (position),
    confidence   REAL,
    strategy     TEXT NOT NULL,
    arm          TEXT NOT NULL CHECK (arm IN ('active', 'control', 'evaluation')),
    released_at  TEXT,
    PRIMARY KEY (batch, rank),
    UNIQUE (batch, sample)
) STRICT;
CREATE INDEX batch_row_by_sample ON batch_row (sample);

-- Every issued row with what became of it; a batch is open while any of its rows is out.
CREATE VIEW batch_progress AS
SELECT r.batch, r.rank, r.sample, r.released_at,
       EXISTS (SELECT 1 FROM vote AS v WHERE v.sample = r.sample AND v.id > b.after_vote) AS answered
FROM batch_row AS r
JOIN batch AS b ON b.id = r.batch;
CREATE VIEW in_flight AS
SELECT batch, sample FROM batch_progress WHERE released_at IS NULL AND NOT answered;

-- An immutable checkpoint once finished_at is set.
CREATE TABLE model_version (
    id             INTEGER PRIMARY KEY,
    version        TEXT NOT NULL UNIQUE,
    parent         INTEGER REFERENCES model_version (id),
    classes        INTEGER NOT NULL,      -- how many of the class list it knows
    labels_digest  TEXT NOT NULL,
    fingerprint    TEXT NOT NULL,         -- of everything that shapes its training
    seed           INTEGER NOT NULL,
    threads        INTEGER NOT NULL,
    device         TEXT NOT NULL,
    started_at     TEXT NOT NULL,
    finished_at    TEXT,
    epochs         INTEGER,
    converged      INTEGER,
    stopped        TEXT,
    train_accuracy REAL,
    train_loss     REAL
) STRICT;
-- The labels a version saw.
CREATE TABLE model_label (
    model  INTEGER NOT NULL REFERENCES model_version (id) ON DELETE CASCADE,
    sample INTEGER NOT NULL REFERENCES sample (id),
    class  INTEGER NOT NULL REFERENCES class (position),
    PRIMARY KEY (model, sample)
) STRICT, WITHOUT ROWID;
CREATE INDEX model_label_by_sample ON model_label (sample);

-- Which score files are complete.
CREATE TABLE score_table (
    model       INTEGER PRIMARY KEY REFERENCES model_version (id) ON DELETE CASCADE,
    micro_batch INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    started_at  TEXT NOT NULL
) STRICT;
CREATE TABLE score_shard (
    model    INTEGER NOT NULL REFERENCES score_table (model) ON DELETE CASCADE,
    ordinal  INTEGER NOT NULL,
    file     TEXT NOT NULL,
    samples  INTEGER NOT NULL,
    seconds  REAL NOT NULL,
    PRIMARY KEY (model, ordinal)
) STRICT;

-- One measurement of one version on one set of evaluation labels.
CREATE TABLE evaluation (
    id            INTEGER PRIMARY KEY,
    model         INTEGER NOT NULL REFERENCES model_version (id),
    labels_digest TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    report        TEXT NOT NULL,
    measured_at   TEXT NOT NULL,
    UNIQUE (model, labels_digest, fingerprint)
) STRICT;
