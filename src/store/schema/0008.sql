-- A person who wants what is held kept, and sent to nobody. It is said of the person's records, so that it follows merges and splits.
CREATE TABLE restriction (
    id        INTEGER PRIMARY KEY,
    record    INTEGER NOT NULL REFERENCES patient_record (id),
    said_by   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    lifted_by TEXT,                             -- NULL: it holds
    lifted_at INTEGER
) STRICT;
CREATE INDEX restriction_record ON restriction (record);
CREATE INDEX restriction_holds ON restriction (record) WHERE lifted_at IS NULL;
CREATE INDEX patient_record_merged_into ON patient_record (merged_into) WHERE merged_into IS NOT NULL;
