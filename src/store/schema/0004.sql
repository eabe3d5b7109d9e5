-- The whole life of an identity: who is told apart, what a number or a visit number stands for since it was changed, and records that
-- their source has deleted.

-- Two records that are not one patient, whatever rules find; written by people, by A37 and A43, and where a number is reused.
CREATE TABLE no_link (
    one       INTEGER NOT NULL REFERENCES patient_record (id),
    other     INTEGER NOT NULL REFERENCES patient_record (id),
    said_by   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    undone_by TEXT,                             -- NULL: it holds
    undone_at INTEGER,
    PRIMARY KEY (one, other),
    CHECK (one < other)
) STRICT, WITHOUT ROWID;
CREATE INDEX no_link_other ON no_link (other);

-- A visit number that was given up answers as another one of its source (A42, A50 and their kin).
CREATE TABLE visit_redirect (
    source      TEXT NOT NULL,
    number      TEXT NOT NULL,
    into_number TEXT NOT NULL,
    at          INTEGER NOT NULL,               -- source time
    PRIMARY KEY (source, number)
) STRICT, WITHOUT ROWID;

-- Source time at which the source deleted the patient (A29). What it says later brings the record back.
ALTER TABLE patient_record ADD COLUMN deactivated_at INTEGER;

-- How a record came to where it is.
CREATE INDEX link_history_record ON link_history (record);
