-- +goose Up

-- Versions whose bytes in the spool a reader found not to be those that were fetched. The next archive run looks at them,
-- and fetches again what it finds so.
CREATE TABLE spool_rot (
  version INTEGER PRIMARY KEY REFERENCES version (id) ON DELETE CASCADE,
  found   INTEGER NOT NULL,             -- Unix ns
  why     TEXT NOT NULL
) STRICT;
