-- Labels by a model: kept apart from people's votes, so that nothing that reads votes can take one for the other.

-- How sure the version was of each example's predicted class, before any temperature: float32, little-endian, in the order
-- of `outcomes` (NULL: measured by an older program).
ALTER TABLE evaluation ADD COLUMN confidences BLOB;

-- What was promised of the labels of one run, and on which evidence: a JSON object (dalcli/prediction/promise.py).
CREATE TABLE auto_run (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    model       INTEGER NOT NULL REFERENCES model_version (id),
    annotator   TEXT NOT NULL,                            -- auto:m-0007
    promise     TEXT NOT NULL CHECK (json_valid(promise)),
    recorded_at TEXT NOT NULL
) STRICT;
CREATE TRIGGER auto_run_is_never_changed BEFORE UPDATE ON auto_run
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;
CREATE TRIGGER auto_run_is_never_deleted BEFORE DELETE ON auto_run
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;

CREATE TABLE auto_vote (
    run        INTEGER NOT NULL REFERENCES auto_run (id),
    sample     INTEGER NOT NULL REFERENCES sample (id),
    class      INTEGER NOT NULL REFERENCES class (position),
    confidence REAL NOT NULL,
    PRIMARY KEY (run, sample)
) STRICT, WITHOUT ROWID;
CREATE INDEX auto_vote_by_sample ON auto_vote (sample);
CREATE TRIGGER auto_vote_is_never_changed BEFORE UPDATE ON auto_vote
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;
CREATE TRIGGER auto_vote_is_never_deleted BEFORE DELETE ON auto_vote
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;

-- A run is withdrawn as a whole, for good.
CREATE TABLE auto_withdrawal (
    run          INTEGER PRIMARY KEY REFERENCES auto_run (id),
    reason       TEXT NOT NULL,
    withdrawn_at TEXT NOT NULL
) STRICT;
CREATE TRIGGER auto_withdrawal_is_never_changed BEFORE UPDATE ON auto_withdrawal
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;
CREATE TRIGGER auto_withdrawal_is_never_deleted BEFORE DELETE ON auto_withdrawal
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;

-- Tries that ended in a promise or in none: each is one more look at the evaluation labels.
CREATE TABLE auto_try (
    id            INTEGER PRIMARY KEY,
    model         INTEGER NOT NULL REFERENCES model_version (id),
    labels_digest TEXT NOT NULL,
    options       TEXT NOT NULL CHECK (json_valid(options)),
    tried_at      TEXT NOT NULL,
    UNIQUE (model, labels_digest, options)
) STRICT;

-- What counts of all that: runs that stand, on training samples of which no person has said anything.
CREATE VIEW auto_label AS
SELECT v.run, v.sample, n.counts_as AS class, v.confidence, r.annotator, r.recorded_at
FROM auto_vote AS v
JOIN auto_run AS r ON r.id = v.run
JOIN sample AS s ON s.id = v.sample AND s.purpose = 'training'
JOIN class_now AS n ON n.position = v.class
WHERE NOT EXISTS (SELECT 1 FROM auto_withdrawal AS w WHERE w.run = v.run)
  AND NOT EXISTS (SELECT 1 FROM standing_vote AS p WHERE p.sample = v.sample);
