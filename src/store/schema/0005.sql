-- FHIR servers: what each of them holds, as last read, and how far its reading has got.

CREATE TABLE resource (
    id         INTEGER PRIMARY KEY,
    source     TEXT NOT NULL,
    type       TEXT NOT NULL,                   -- Patient, Encounter …
    logical_id TEXT NOT NULL,                   -- Resource.id
    state      TEXT NOT NULL CHECK (state IN ('unread', 'present', 'deleted', 'absent')),
    version    TEXT,                            -- meta.versionId, compared for equality only
    updated_at INTEGER,                         -- meta.lastUpdated, or when the server deleted it
    digest     BLOB,                            -- of the body
    compressed INTEGER NOT NULL DEFAULT 0,
    body       BLOB,                            -- JSON as it came; NULL unless present
    due        INTEGER,                         -- its record has to be told anew, lower ones first; NULL: nothing to do
    due_at     INTEGER,                         -- since when
    marks      INTEGER NOT NULL DEFAULT 0,      -- how often it became due
    number     TEXT,                            -- what it was last told as: a patient's SYSTEM|VALUE, else SOURCE:NUMBER
    told_at    INTEGER,                         -- source time under which it was
    told_by    INTEGER,                         -- the message that told it
    refresh_at INTEGER,                         -- when to ask for it again; NULL: polling tells of its changes
    UNIQUE (source, type, logical_id)
) STRICT;
CREATE INDEX resource_due ON resource (source, due, id) WHERE due IS NOT NULL;
CREATE INDEX resource_number ON resource (source, number) WHERE number IS NOT NULL;
CREATE INDEX resource_refresh ON resource (source, refresh_at) WHERE refresh_at IS NOT NULL;
CREATE INDEX resource_unread ON resource (source, id) WHERE state = 'unread';

CREATE TABLE resource_reference (
    from_resource INTEGER NOT NULL REFERENCES resource (id),
    to_resource   INTEGER NOT NULL REFERENCES resource (id),
    PRIMARY KEY (from_resource, to_resource)
) STRICT, WITHOUT ROWID;
CREATE INDEX resource_reference_to ON resource_reference (to_resource, from_resource);

-- Marks, continuations and states of reading, as its client writes them down.
CREATE TABLE reading (
    source   TEXT NOT NULL,
    key      TEXT NOT NULL,
    progress TEXT NOT NULL,                     -- JSON
    PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;
