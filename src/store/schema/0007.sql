-- A store that was put back from a backup is another log than the one that went on without it.
ALTER TABLE meta ADD COLUMN epoch_began INTEGER NOT NULL DEFAULT 0;  -- newest event when the epoch was raised
ALTER TABLE meta ADD COLUMN backup_at INTEGER;                       -- a backup, made then; NULL: a store in use
