-- Times are microseconds since the epoch, UTC. Columns of type ANY hold text, or LZ4 as a blob (packed.rs).
-- CHECK spells its list out: for IN (...), SQLite would build a temporary table with every row that is written.
-- Rows that other tables or cursors refer to by number are never renumbered: nothing reuses a sequence or a message id.

CREATE TABLE meta (
    one_row INTEGER PRIMARY KEY CHECK (one_row = 1),
    epoch   INTEGER NOT NULL                    -- names the log, part of every cursor; a restore raises it
) STRICT;
INSERT INTO meta VALUES (1, 1);

-- Messages. The bytes lie apart, so that listing and looking up touch small rows only.
CREATE TABLE message (
    id              INTEGER PRIMARY KEY,        -- order of arrival
    source          TEXT NOT NULL,
    received_at     INTEGER NOT NULL,
    type            TEXT NOT NULL,              -- ADT^A01
    control_id      TEXT NOT NULL,              -- MSH-10
    message_time    INTEGER,                    -- MSH-7
    charset         TEXT NOT NULL,
    digest          BLOB NOT NULL,              -- of the bytes, 16 octets
    same_control_id INTEGER NOT NULL,           -- an earlier message had this MSH-10 and other bytes
    attempts        INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state = 'processed' OR state = 'failed' OR state = 'ignored'),
    error_code      TEXT,                       -- HL7 table 0357
    error_location  TEXT,
    error_text      TEXT,
    notes           TEXT,                       -- JSON list
    mapping         TEXT NOT NULL,              -- version of the mapping
    one_id          TEXT                        -- its patient, as resolved then
) STRICT;
-- The digest is part of the key because some senders use one control id for everything.
CREATE INDEX message_control_id ON message (control_id, source, digest);
CREATE INDEX message_one_id ON message (one_id) WHERE one_id IS NOT NULL;
CREATE INDEX message_failed ON message (id) WHERE state = 'failed';

CREATE TABLE message_content (
    message    INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    compressed INTEGER NOT NULL,
    bytes      BLOB NOT NULL
) STRICT;

-- How many messages of each kind there were since the store began, and of failed ones how many wait; counting millions of rows would
-- be too slow.
CREATE TABLE message_count (
    source           TEXT NOT NULL,
    state            TEXT NOT NULL,
    count            INTEGER NOT NULL,
    last_received_at INTEGER NOT NULL,
    UNIQUE (source, state)                      -- not WITHOUT ROWID: an upsert would build a temporary table there
) STRICT;

-- One ID.
CREATE TABLE person (
    id          INTEGER PRIMARY KEY,
    one_id      TEXT NOT NULL UNIQUE,           -- ULID; never reused, never deleted
    version     INTEGER NOT NULL,
    merged_into TEXT REFERENCES person (one_id),
    created_at  INTEGER NOT NULL,
    golden      ANY NOT NULL                    -- the golden record's fields
) STRICT;
CREATE INDEX person_merged_into ON person (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE person_key (
    kind   TEXT NOT NULL CHECK (kind = 'name' OR kind = 'birth_date' OR kind = 'phone'),
    value  TEXT NOT NULL,                       -- normalised, see search_key.rs
    person INTEGER NOT NULL REFERENCES person (id),
    PRIMARY KEY (kind, value, person)
) STRICT, WITHOUT ROWID;

CREATE TABLE patient_record (
    id          INTEGER PRIMARY KEY,
    source      TEXT NOT NULL,
    system      TEXT NOT NULL,                  -- assigning authority
    value       TEXT NOT NULL,                  -- number
    generation  INTEGER NOT NULL,               -- grows when a source gives a number to another patient
    one_id      TEXT NOT NULL REFERENCES person (one_id),
    link        TEXT NOT NULL CHECK (link = 'auto' OR link = 'manual' OR link = 'pending'),
    merged_into INTEGER REFERENCES patient_record (id),
    updated_at  INTEGER NOT NULL,               -- newest source time
    state       ANY NOT NULL,                   -- state::PatientState
    UNIQUE (system, value, source, generation)  -- also finds a number in any source
) STRICT;
CREATE INDEX patient_record_one_id ON patient_record (one_id);

CREATE TABLE identifier (
    value  TEXT NOT NULL,
    type   TEXT NOT NULL,
    system TEXT NOT NULL,
    record INTEGER NOT NULL,                    -- a patient_record; as a foreign key each removal of one would read all of this
    PRIMARY KEY (value, type, system, record)
) STRICT, WITHOUT ROWID;

CREATE TABLE link_history (
    id          INTEGER PRIMARY KEY,
    record      INTEGER NOT NULL REFERENCES patient_record (id),
    from_one_id TEXT REFERENCES person (one_id),
    to_one_id   TEXT NOT NULL REFERENCES person (one_id),
    kind        TEXT NOT NULL CHECK (kind = 'auto' OR kind = 'manual' OR kind = 'pending'),
    basis       TEXT NOT NULL,                  -- JSON: the evidence
    message     INTEGER,                        -- may be pruned; the history stays
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX link_history_from ON link_history (from_one_id) WHERE from_one_id IS NOT NULL;
CREATE INDEX link_history_to ON link_history (to_one_id);

-- Visits and reports belong to a record; their One ID is the record's, so a merge moves them by moving the record.
CREATE TABLE visit (
    id      INTEGER PRIMARY KEY,
    number  TEXT NOT NULL,
    source  TEXT NOT NULL,
    record  INTEGER NOT NULL REFERENCES patient_record (id),
    version INTEGER NOT NULL,
    state   ANY NOT NULL,                       -- state::VisitState
    UNIQUE (number, source)
) STRICT;
CREATE INDEX visit_record ON visit (record);

CREATE TABLE lab_report (
    id       INTEGER PRIMARY KEY,
    number   TEXT NOT NULL,                     -- filler order number
    source   TEXT NOT NULL,
    record   INTEGER NOT NULL REFERENCES patient_record (id),
    visit_id TEXT,                              -- the visit may come later
    version  INTEGER NOT NULL,
    state    ANY NOT NULL,                      -- state::LabReportState
    UNIQUE (number, source)
) STRICT;
CREATE INDEX lab_report_record ON lab_report (record);

-- The log.
CREATE TABLE event (
    sequence    INTEGER PRIMARY KEY,            -- 1, 2, 3 ... without holes
    id          TEXT NOT NULL,
    type        TEXT NOT NULL,
    subject     TEXT NOT NULL,                  -- the One ID as it was then
    time        TEXT NOT NULL,
    source      TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    message     INTEGER,
    data        ANY NOT NULL
) STRICT;

CREATE TABLE consumer (
    name       TEXT PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    sha256       BLOB NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT;

-- Codes that no table knows, counted once for each message, and the messages that wait for each.
CREATE TABLE unmapped_code (
    id         INTEGER PRIMARY KEY,
    source     TEXT NOT NULL,
    code_table TEXT NOT NULL,
    code       TEXT NOT NULL,
    target     TEXT NOT NULL,
    count      INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    message    INTEGER NOT NULL,                -- a sample: the newest that holds it
    UNIQUE (source, code_table, code, target)
) STRICT;

CREATE TABLE unmapped_message (
    message INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    code    INTEGER NOT NULL REFERENCES unmapped_code (id),
    PRIMARY KEY (message, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX unmapped_message_code ON unmapped_message (code);

-- Which mapping of each source the daemon runs, and what became of the last attempt to load another.
CREATE TABLE mapping_in_force (
    source     TEXT PRIMARY KEY,
    version    TEXT NOT NULL,
    loaded_at  INTEGER NOT NULL,
    refused_at INTEGER,                         -- files were changed since and could not be used
    problem    TEXT                             -- the first one, with its place
) STRICT, WITHOUT ROWID;

CREATE TABLE import_progress (
    source     TEXT NOT NULL,
    path       TEXT NOT NULL,
    size       INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    messages   INTEGER NOT NULL,
    finished   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (source, path)
) STRICT, WITHOUT ROWID;
