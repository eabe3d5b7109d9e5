-- FHIR servers: which record a Patient was told as, what cannot be read, and changes that reach more records than one transaction marks.

-- Of a Patient: the record that it was told as. A number may stand for several patients, a record is one's.
ALTER TABLE resource ADD COLUMN record INTEGER REFERENCES patient_record (id);
-- Of what its unit said when it was told last; NULL: it is told anew whatever it says.
ALTER TABLE resource ADD COLUMN told_digest BLOB;
-- Why nobody can read the body; NULL: it can be read.
ALTER TABLE resource ADD COLUMN unreadable TEXT;
-- The message that says so.
ALTER TABLE resource ADD COLUMN unreadable_by INTEGER;
-- Which record each was told as is found by telling them once more.
UPDATE resource SET number = NULL, due = 0, due_at = coalesce(due_at, 0), marks = marks + 1
    WHERE type = 'Patient' AND number IS NOT NULL;
CREATE INDEX resource_record ON resource (record) WHERE record IS NOT NULL;
CREATE INDEX resource_unreadable ON resource (source, id) WHERE unreadable IS NOT NULL;

-- Resources whose change has not yet reached all that name them.
CREATE TABLE resource_spread (
    resource INTEGER PRIMARY KEY REFERENCES resource (id),
    source   TEXT NOT NULL,
    appears  INTEGER NOT NULL,                  -- who waited for it need wait no longer
    steps    INTEGER NOT NULL,                  -- how far to go on from here
    after    INTEGER NOT NULL                   -- the last one that was reached
) STRICT;
CREATE INDEX resource_spread_source ON resource_spread (source, resource);
