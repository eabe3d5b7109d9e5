-- Matching: who might be whom, how common values are, and what somebody has to decide.

-- Records by what they share (identity::keys); a hash stands for the value.
CREATE TABLE match_key (
    hash   INTEGER NOT NULL,
    record INTEGER NOT NULL,                    -- as in identifier
    PRIMARY KEY (hash, record)
) STRICT, WITHOUT ROWID;

-- How many people bear a value (identity::terms); 0 is everybody.
CREATE TABLE term_count (
    hash   INTEGER PRIMARY KEY,
    people INTEGER NOT NULL
) STRICT;
INSERT INTO term_count VALUES (0, 0);

-- Values that too many people bear to prove anything.
CREATE TABLE quarantine (
    hash INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,                         -- identity::KeyKind
    at   INTEGER NOT NULL
) STRICT;

-- Cases for review: two records that may or may not be one patient. Records, not persons: a case follows every merge and split.
CREATE TABLE review (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,
    record     INTEGER NOT NULL REFERENCES patient_record (id),
    other      INTEGER NOT NULL REFERENCES patient_record (id),     -- greater than record
    state      TEXT NOT NULL CHECK (state = 'open' OR state = 'linked' OR state = 'rejected'),
    bits       REAL NOT NULL,                   -- log2 of the odds
    evidence   ANY NOT NULL,                    -- JSON
    message    INTEGER,                         -- may be pruned; the case stays
    asked_at   INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT,
    reason     TEXT,
    UNIQUE (record, other)
) STRICT;
CREATE INDEX review_open ON review (bits) WHERE state = 'open';
CREATE INDEX review_other ON review (other);
