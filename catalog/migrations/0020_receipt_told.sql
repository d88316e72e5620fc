-- +goose Up

-- What was removed at a source by this program is not what vanished there: its receipt is found by the version, and told by the next
-- manifests.
ALTER TABLE receipt ADD COLUMN journalled INTEGER NOT NULL DEFAULT 0; -- 1: the journal has a change that tells of it
CREATE INDEX receipt_version ON receipt (version, at) WHERE state = 'removed';
CREATE INDEX receipt_untold ON receipt (id) WHERE state = 'removed' AND journalled = 0;
