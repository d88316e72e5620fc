-- +goose Up

-- What was removed at a source because tapes have it. A row is written before anything happens to the file (going), and says at the
-- end that it was removed, or kept.
CREATE TABLE receipt (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  run     INTEGER NOT NULL REFERENCES run (id),
  source  INTEGER NOT NULL REFERENCES source (id),
  path    BLOB NOT NULL,    -- below the source's top
  aside   TEXT NOT NULL,    -- the name in the same directory under which it is removed
  version INTEGER NOT NULL, -- whose bytes it had
  kind    INTEGER NOT NULL,
  size    INTEGER NOT NULL,
  sha256  BLOB,             -- of a file
  copies  TEXT NOT NULL,    -- JSON: the copies that were counted
  state   TEXT NOT NULL CHECK (state IN ('going', 'removed', 'kept')),
  at      INTEGER NOT NULL, -- Unix ns of that state
  filed   INTEGER NOT NULL DEFAULT 0 -- it stands in a file of receipts, too
) STRICT;
CREATE INDEX receipt_open ON receipt (source, state) WHERE state = 'going' OR state = 'removed' AND filed = 0;
