-- Cases that another decision answers, and what was said of each case so far.

-- NULL: somebody decided the case itself. Else the decision that answers it: link, unlink, merge, split, reject.
ALTER TABLE review ADD COLUMN answered_by TEXT;

-- Every answer, the newest last; review holds the one in force.
CREATE TABLE review_answer (
    id          INTEGER PRIMARY KEY,
    review      INTEGER NOT NULL REFERENCES review (id),
    state       TEXT NOT NULL CHECK (state = 'open' OR state = 'linked' OR state = 'rejected'),
    at          INTEGER NOT NULL,
    said_by     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    answered_by TEXT
) STRICT;
CREATE INDEX review_answer_review ON review_answer (review);
INSERT INTO review_answer (review, state, at, said_by, reason)
    SELECT id, state, decided_at, decided_by, coalesce(reason, '') FROM review
    WHERE decided_at IS NOT NULL AND decided_by IS NOT NULL ORDER BY decided_at, id;

-- Up to which record all were looked at again under a model; later ones are judged as they come.
CREATE TABLE rescored (
    model  TEXT PRIMARY KEY,
    record INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
