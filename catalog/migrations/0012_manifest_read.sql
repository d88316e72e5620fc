-- +goose Up

-- What is on tape of the journal is read back like the parts that it names. When a manifest or a snapshot was last read whole and
-- had its MAC; 0: never since it was written.
ALTER TABLE manifest ADD COLUMN verified INTEGER NOT NULL DEFAULT 0; -- Unix ns
ALTER TABLE snapshot ADD COLUMN verified INTEGER NOT NULL DEFAULT 0; -- Unix ns

-- When a durable manifest was found lost or damaged on its tape; 0: never.
ALTER TABLE manifest ADD COLUMN missed INTEGER NOT NULL DEFAULT 0; -- Unix ns

-- The last change.id that the pool's manifests before it name: it names those after that, up to upto. NULL: unknown.
ALTER TABLE manifest ADD COLUMN after INTEGER;
