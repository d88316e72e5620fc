-- +goose Up

-- What drives said of themselves and of the cartridges in them, at the end of sessions: one row for each day, drive and tape. Counts
-- are -1 where the drive did not say. Only of this machine: no tape is told.
CREATE TABLE wear (
  id            INTEGER PRIMARY KEY,
  time          INTEGER NOT NULL,             -- Unix ns, of the last session of the day
  drive         TEXT NOT NULL,                -- serial
  tape          INTEGER REFERENCES tape (id) ON DELETE CASCADE, -- NULL: the catalog does not know it
  alerts        TEXT NOT NULL DEFAULT '',     -- TapeAlert flags of the day: numbers, with blanks between
  loads         INTEGER NOT NULL DEFAULT -1,  -- of the cartridge in its life, as those up to read_errors
  mb_written    INTEGER NOT NULL DEFAULT -1,  -- 10^6 bytes
  mb_read       INTEGER NOT NULL DEFAULT -1,
  write_retries INTEGER NOT NULL DEFAULT -1,  -- errors that were corrected
  read_retries  INTEGER NOT NULL DEFAULT -1,
  write_errors  INTEGER NOT NULL DEFAULT -1,  -- errors that were not
  read_errors   INTEGER NOT NULL DEFAULT -1,
  drive_loads   INTEGER NOT NULL DEFAULT -1,  -- of the drive in its life, as what follows
  cleanings     INTEGER NOT NULL DEFAULT -1,
  powered_hours INTEGER NOT NULL DEFAULT -1,
  moving_hours  INTEGER NOT NULL DEFAULT -1,
  metres        INTEGER NOT NULL DEFAULT -1   -- of tape that ran through it
) STRICT;
CREATE INDEX wear_tape ON wear (tape, time);
CREATE INDEX wear_drive ON wear (drive, time);
