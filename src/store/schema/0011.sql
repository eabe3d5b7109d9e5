-- Pushing the feed: what a consumer was not given yet although its position is beyond it, and what people did about it.


-- How often somebody moved the position: who delivers by it begins anew there.
ALTER TABLE consumer ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;
-- When an event was last taken that was pushed.
ALTER TABLE consumer ADD COLUMN delivered_at INTEGER;

-- Events of persons in trouble wait together, in the order of the log. Persons and records share a hold once an event is about both.
CREATE TABLE hold (
    id         INTEGER PRIMARY KEY,
    consumer   TEXT NOT NULL,
    since      INTEGER NOT NULL,                -- when its trouble began
    attempts   INTEGER NOT NULL,                -- failed ones, of its first event
    next_at    INTEGER NOT NULL,                -- when that one is tried again
    parked_at  INTEGER,                         -- set: it is tried no more until somebody says so
    last_error TEXT NOT NULL
) STRICT;
CREATE INDEX hold_due ON hold (consumer, next_at) WHERE parked_at IS NULL;

CREATE TABLE hold_key (
    consumer TEXT NOT NULL,
    key      TEXT NOT NULL,                     -- a One ID, or a visit's or report's id
    hold     INTEGER NOT NULL REFERENCES hold (id),
    PRIMARY KEY (consumer, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_key_hold ON hold_key (hold);

CREATE TABLE hold_event (
    consumer TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    hold     INTEGER NOT NULL REFERENCES hold (id),
    PRIMARY KEY (consumer, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_event_hold ON hold_event (hold, sequence);

-- What people did with a consumer's deliveries.
CREATE TABLE consumer_action (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    consumer TEXT NOT NULL,
    action   TEXT NOT NULL CHECK (action = 'replay' OR action = 'release' OR action = 'skip' OR action = 'forget'),
    done_by  TEXT NOT NULL,
    reason   TEXT NOT NULL,
    detail   TEXT NOT NULL                      -- JSON: positions, ids
) STRICT;
CREATE INDEX consumer_action_consumer ON consumer_action (consumer, id);
