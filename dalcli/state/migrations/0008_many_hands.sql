-- Several annotators, and classes that are renamed and merged.

-- What happened to classes: append-only, like votes. `class` keeps the names that classes were founded with, and votes keep
-- the class that they named; what both amount to today is in the views below.
CREATE TABLE class_event (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL CHECK (kind IN ('rename', 'merge')),
    class      INTEGER NOT NULL REFERENCES class (position),
    old_name   TEXT NOT NULL,                            -- what it was called until then
    new_name   TEXT NOT NULL,                            -- rename: what it is called since; merge: the name of `into`
    into_class INTEGER REFERENCES class (position),      -- merge: what it is a part of since
    recorded_at TEXT NOT NULL,
    CHECK ((kind = 'merge') = (into_class IS NOT NULL) AND into_class IS NOT class)
) STRICT;
CREATE UNIQUE INDEX class_is_merged_once ON class_event (class) WHERE kind = 'merge';
CREATE TRIGGER class_event_is_never_changed BEFORE UPDATE ON class_event
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;
CREATE TRIGGER class_event_is_never_deleted BEFORE DELETE ON class_event
BEGIN
    SELECT raise(ABORT, 'the label ledger is append-only');
END;

-- Every class as it is today: its name, and the class that it counts as (itself, unless it was merged).
CREATE VIEW class_now AS
WITH RECURSIVE merged (position, target) AS (
    SELECT class, into_class FROM class_event WHERE kind = 'merge'
), reached (position, at) AS (
    SELECT position, position FROM class
    UNION
    SELECT r.position, m.target FROM reached AS r JOIN merged AS m ON m.position = r.at
)
SELECT c.position,
       coalesce((SELECT e.new_name FROM class_event AS e WHERE e.class = c.position AND e.kind = 'rename'
                 ORDER BY e.id DESC LIMIT 1), c.name) AS name,
       r.at AS counts_as
FROM class AS c
JOIN reached AS r ON r.position = c.position
WHERE r.at NOT IN (SELECT position FROM merged);

-- What is made of votes that differ: derived from them by the rule in `meta` ('consensus'), in the transaction that changes
-- votes, classes or the rule (dalcli/state/consensus.py). `class` NULL: disputed, whatever leads.
CREATE TABLE consensus (
    sample     INTEGER PRIMARY KEY REFERENCES sample (id),
    class      INTEGER REFERENCES class (position),
    leading    INTEGER NOT NULL REFERENCES class (position),
    confidence REAL NOT NULL
) STRICT;
-- Until now the rule was unanimity.
WITH share AS (
    SELECT sample, class, count(*) AS votes FROM latest_vote WHERE class IS NOT NULL GROUP BY sample, class
), whole AS (
    SELECT sample, sum(votes) AS votes, max(votes) AS most FROM share GROUP BY sample HAVING sum(votes) > 1
)
INSERT INTO consensus (sample, class, leading, confidence)
SELECT w.sample, CASE WHEN w.most = w.votes THEN min(s.class) END, min(s.class), 1.0 * w.most / w.votes
FROM whole AS w JOIN share AS s ON s.sample = w.sample AND s.votes = w.most
GROUP BY w.sample;

CREATE VIEW counted_vote AS
SELECT v.id, v.sample, v.annotator, n.counts_as AS class
FROM latest_vote AS v
LEFT JOIN class_now AS n ON n.position = v.class;

DROP VIEW answer;
CREATE VIEW answer AS
SELECT v.sample,
       CASE WHEN count(v.class) = 0 THEN 'skipped'
            WHEN min(v.class) = max(v.class) OR c.class IS NOT NULL THEN 'labeled'
            ELSE 'disputed' END AS state,
       CASE WHEN min(v.class) = max(v.class) THEN min(v.class) ELSE c.class END AS class,
       c.confidence
FROM counted_vote AS v
LEFT JOIN consensus AS c ON c.sample = v.sample
GROUP BY v.sample;

-- A batch of samples that have labels already, handed out for another look.
ALTER TABLE batch ADD COLUMN relabel INTEGER NOT NULL DEFAULT 0;

-- Labels that a model contradicts: one measurement each, with the labels and settings that it holds for.
CREATE TABLE suspicion (
    id            INTEGER PRIMARY KEY,
    model         INTEGER REFERENCES model_version (id),   -- the newest one then; NULL: none was needed
    labels_digest TEXT NOT NULL,
    made_from     TEXT NOT NULL,                           -- which predictions
    report        TEXT NOT NULL CHECK (json_valid(report)),
    measured_at   TEXT NOT NULL
) STRICT;
