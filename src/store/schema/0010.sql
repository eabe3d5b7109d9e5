-- Consents, and what field policies need: the key of stand-ins, and the events of one person.

CREATE TABLE consent (
    id      INTEGER PRIMARY KEY,
    one_id  TEXT NOT NULL REFERENCES person (one_id),  -- of whom it was said
    purpose TEXT NOT NULL CHECK (purpose = 'care' OR purpose = 'marketing' OR purpose = 'operations'),
    state   TEXT NOT NULL CHECK (state = 'given' OR state = 'withdrawn'),
    since   INTEGER NOT NULL,                   -- in force from then on; of several the latest counts
    until   INTEGER,                            -- ends by itself
    basis   TEXT NOT NULL,                      -- the paper, the form, the reason
    source  TEXT NOT NULL,                      -- who told it: a source's name, or manual
    said_by TEXT NOT NULL,
    message INTEGER,                            -- may be pruned
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX consent_purpose ON consent (purpose);

-- The patient records that it is of: it goes where they go.
CREATE TABLE consent_record (
    record  INTEGER NOT NULL REFERENCES patient_record (id),
    consent INTEGER NOT NULL REFERENCES consent (id),
    PRIMARY KEY (record, consent)
) STRICT, WITHOUT ROWID;
CREATE INDEX consent_record_consent ON consent_record (consent);

-- SQLite's generator is ChaCha20, seeded by the system.
CREATE TABLE pseudonym_key (
    one_row INTEGER PRIMARY KEY CHECK (one_row = 1),
    secret  BLOB NOT NULL
) STRICT;
INSERT INTO pseudonym_key VALUES (1, randomblob(32));

CREATE INDEX event_subject ON event (subject);
