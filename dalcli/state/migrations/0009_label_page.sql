-- Answers given in the labeling page can be taken back, and can propose a class that is not in the list.

-- A vote that its annotator took back: append-only beside an append-only ledger. It stays readable, and counts no longer.
CREATE TABLE withdrawal (
    vote         INTEGER PRIMARY KEY REFERENCES vote (id),
    withdrawn_at TEXT NOT NULL
) STRICT;
CREATE TRIGGER withdrawal_is_never_changed BEFORE UPDATE ON withdrawal
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;
CREATE TRIGGER withdrawal_is_never_deleted BEFORE DELETE ON withdrawal
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;

-- A class that somebody missed: said with a vote that skips the sample, and void when that vote is withdrawn or replaced.
CREATE TABLE proposal (
    vote INTEGER PRIMARY KEY REFERENCES vote (id),
    name TEXT NOT NULL
) STRICT;

CREATE VIEW standing_vote AS
SELECT v.*
FROM vote AS v
WHERE NOT EXISTS (SELECT 1 FROM withdrawal AS w WHERE w.vote = v.id);

DROP VIEW latest_vote;
CREATE VIEW latest_vote AS
SELECT v.*
FROM vote AS v
WHERE v.id = (SELECT max(o.id) FROM standing_vote AS o WHERE o.sample = v.sample AND o.annotator = v.annotator);

DROP VIEW batch_progress;
CREATE VIEW batch_progress AS
SELECT r.batch, r.rank, r.sample, r.released_at,
       EXISTS (SELECT 1 FROM standing_vote AS v WHERE v.sample = r.sample AND v.id > b.after_vote) AS answered
FROM batch_row AS r
JOIN batch AS b ON b.id = r.batch;
