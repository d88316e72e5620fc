-- +goose Up

-- How long this library takes, summed over what was done lately: to load and mount a tape, to find a place on it, to read on. When a
-- sum has grown large it is halved, so that what was done last counts most.
CREATE TABLE pace (
  what  TEXT PRIMARY KEY CHECK (what IN ('load', 'locate', 'stream')),
  times INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  nanos INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
