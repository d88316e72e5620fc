-- +goose Up

-- What the source told of a file beside its size and time when its bytes were taken. NULL: unknown, which is so of
-- all that is fetched by rsync, of what older programs archived and of what a rebuild found on tape.
ALTER TABLE version ADD COLUMN ctime INTEGER; -- Unix ns of the last change of the inode, of a source that is read in place
ALTER TABLE version ADD COLUMN ino   INTEGER; -- its inode number there

-- 1: the file grew while it was read, and this is what it held up to then. It is taken again by the next run.
ALTER TABLE version ADD COLUMN grew INTEGER NOT NULL DEFAULT 0;
