-- +goose Up

-- What a path cannot show any more is looked for each time something is listed: void versions, and files of objects
-- with damaged copies.
CREATE INDEX version_void ON version (id) WHERE state = 2;
CREATE INDEX copy_damaged ON copy (object) WHERE state = 4;

-- When a tape became suspect, what it was before, and whether that was because damage was found on it; when tape check last found
-- its volume consistent. Of tapes that are suspect already only the time is made up.
ALTER TABLE tape ADD COLUMN suspected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tape ADD COLUMN was TEXT NOT NULL DEFAULT '';
ALTER TABLE tape ADD COLUMN found_damaged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tape ADD COLUMN checked INTEGER NOT NULL DEFAULT 0;
UPDATE tape SET suspected = strftime('%s', 'now') * 1000000000 WHERE state = 'suspect';
UPDATE tape SET found_damaged = 1 WHERE state = 'suspect' AND note LIKE 'damage found on %';
