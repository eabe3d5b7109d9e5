-- Consents that sources tell, and the audit trail by person.

-- When its source said otherwise of the same consent, or took it back: it counts no more.
ALTER TABLE consent ADD COLUMN taken_back INTEGER;

-- What a source said last of a consent, also that it counts no more: what comes late says nothing new.
CREATE TABLE consent_word (
    record  INTEGER NOT NULL REFERENCES patient_record (id),
    source  TEXT NOT NULL,
    number  TEXT NOT NULL,                      -- the source's own; empty: it has one word for each purpose
    purpose TEXT NOT NULL CHECK (purpose = 'care' OR purpose = 'marketing' OR purpose = 'operations'),
    at      INTEGER NOT NULL,                   -- when the source said it
    arrival INTEGER NOT NULL,
    consent INTEGER REFERENCES consent (id),    -- what counts of it, if anything
    PRIMARY KEY (record, source, number, purpose)
) STRICT, WITHOUT ROWID;
CREATE INDEX consent_word_consent ON consent_word (consent);

-- Which entries are about a person; those about more than 16 stand under `*`.
CREATE TABLE audit_person (
    person   TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (person, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_person_sequence ON audit_person (sequence);

WITH RECURSIVE named (sequence, person, rest) AS (
    SELECT sequence, '', persons || ' ' FROM audit_entry
     WHERE persons <> '' AND length(persons) - length(replace(persons, ' ', '')) < 16
    UNION ALL
    SELECT sequence, substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1) FROM named WHERE rest <> ''
)
INSERT OR IGNORE INTO audit_person SELECT person, sequence FROM named WHERE person <> '';
INSERT INTO audit_person SELECT '*', sequence FROM audit_entry WHERE length(persons) - length(replace(persons, ' ', '')) >= 16;
