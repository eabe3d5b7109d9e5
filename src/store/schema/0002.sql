-- Unmapped codes are counted once for each message, and each message that holds one waits for its row in the table.

ALTER TABLE unmapped_code RENAME TO unmapped_code_before;

CREATE TABLE unmapped_code (
    id         INTEGER PRIMARY KEY,
    source     TEXT NOT NULL,
    code_table TEXT NOT NULL,
    code       TEXT NOT NULL,
    target     TEXT NOT NULL,
    count      INTEGER NOT NULL,                -- messages, however often each was tried
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    message    INTEGER NOT NULL,                -- a sample: the newest that holds it
    UNIQUE (source, code_table, code, target)
) STRICT;
INSERT INTO unmapped_code (source, code_table, code, target, count, first_seen, last_seen, message)
    SELECT source, code_table, code, target, count, first_seen, last_seen, message FROM unmapped_code_before;
DROP TABLE unmapped_code_before;

CREATE TABLE unmapped_message (
    message INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    code    INTEGER NOT NULL REFERENCES unmapped_code (id),
    PRIMARY KEY (message, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX unmapped_message_code ON unmapped_message (code);
INSERT INTO unmapped_message SELECT message, id FROM unmapped_code WHERE message IN (SELECT id FROM message);

-- Which mapping of each source the daemon runs, and what became of the last attempt to load another.
CREATE TABLE mapping_in_force (
    source     TEXT PRIMARY KEY,
    version    TEXT NOT NULL,
    loaded_at  INTEGER NOT NULL,
    refused_at INTEGER,                         -- files were changed since and could not be used
    problem    TEXT                             -- the first one, with its place
) STRICT, WITHOUT ROWID;
