-- The audit trail: entries in a chain, and what was signed of it.

CREATE TABLE audit_entry (
    sequence INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    actor    TEXT NOT NULL,
    name     TEXT NOT NULL,
    role     TEXT NOT NULL,
    action   TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    origin   TEXT NOT NULL,
    request  TEXT NOT NULL,
    -- One IDs, and things as KIND/ID, with blanks between: never a name, a number or what was searched for.
    persons  TEXT NOT NULL,
    objects  TEXT NOT NULL,
    detail   TEXT NOT NULL,
    -- SHA-256 of this entry and the hash before it.
    hash     BLOB NOT NULL
) STRICT;

-- One row of the kinds head and beginning at most; regular ones stay as long as their entries.
CREATE TABLE audit_checkpoint (
    kind      TEXT NOT NULL CHECK (kind = 'head' OR kind = 'regular' OR kind = 'beginning'),
    sequence  INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    at        INTEGER NOT NULL,
    previous  INTEGER NOT NULL,
    key       BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (kind, sequence)
) STRICT, WITHOUT ROWID;
