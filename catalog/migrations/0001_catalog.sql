-- +goose Up

-- What identifies this catalog: uuid, created (RFC 3339), format.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Owners are shared by millions of versions, so they are numbered once.
-- The names are the source's; empty where it gave none.
CREATE TABLE owner (
  id    INTEGER PRIMARY KEY,
  uid   INTEGER NOT NULL,
  gid   INTEGER NOT NULL,
  uname BLOB NOT NULL,
  gname BLOB NOT NULL,
  UNIQUE (uid, gid, uname, gname)
) STRICT;

-- One state of a path: its metadata and where its bytes are. The id is the
-- FUSE node id; ids are never reused. Directories keep their id for ever and
-- are changed in place; a changed file or symlink is a new row.
CREATE TABLE version (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  parent   INTEGER NOT NULL REFERENCES version (id),
  name     BLOB NOT NULL,
  kind     INTEGER NOT NULL,            -- 1 file, 2 directory, 3 symlink
  mode     INTEGER NOT NULL,            -- permission bits, 07777
  owner    INTEGER NOT NULL REFERENCES owner (id),
  size     INTEGER NOT NULL,            -- bytes; a symlink's is its target's length
  mtime    INTEGER NOT NULL,            -- Unix seconds
  mtime_ns INTEGER NOT NULL,            -- 0 to 999999999
  inode    INTEGER NOT NULL,            -- own id, or that of the first of the hard-linked names
  nlink    INTEGER NOT NULL DEFAULT 1,
  data     INTEGER NOT NULL,            -- own id, or the version whose members hold these bytes
  target   BLOB,                        -- of a symlink
  sha256   BLOB,                        -- of the content, once it was read whole
  state    INTEGER NOT NULL,            -- 0 planned, 1 present, 2 void, 3 forgotten
  current  INTEGER NOT NULL DEFAULT 0,  -- 1: what the path shows now
  since    INTEGER NOT NULL DEFAULT 0,  -- Unix ns when it became current
  until    INTEGER NOT NULL DEFAULT 0,  -- Unix ns when another took its place; 0 while none did
  vanished INTEGER NOT NULL DEFAULT 0,  -- Unix ns when a listing no longer had it
  batch    INTEGER REFERENCES batch (id) -- the spool batch that holds its bytes
) STRICT;
CREATE UNIQUE INDEX version_path ON version (parent, name) WHERE current = 1;
-- Not partial: the foreign key on parent needs an index over all rows when a version is deleted.
CREATE INDEX version_children ON version (parent, current, id);
CREATE INDEX version_past ON version (parent, name) WHERE current = 0;
CREATE INDEX version_batch ON version (batch) WHERE batch IS NOT NULL;
CREATE INDEX version_since ON version (since) WHERE current = 1;
CREATE INDEX version_inode ON version (inode) WHERE inode <> id;
CREATE INDEX version_data ON version (data) WHERE data <> id;
CREATE INDEX version_sha256 ON version (size, sha256) WHERE sha256 IS NOT NULL AND size >= 1048576;

CREATE TABLE source (
  id       INTEGER PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  url      TEXT NOT NULL,
  root     INTEGER NOT NULL REFERENCES version (id),
  listed   INTEGER NOT NULL DEFAULT 0   -- Unix ns of the last complete listing
) STRICT;

-- A spool directory that one rsync fills. Its files are believed from state 1 on.
CREATE TABLE batch (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  run    INTEGER NOT NULL REFERENCES run (id),
  source INTEGER NOT NULL REFERENCES source (id),
  dir    TEXT NOT NULL,                 -- below the spool; for a source read in place: its absolute root
  local  INTEGER NOT NULL DEFAULT 0,    -- 1: the source is read in place, nothing is spooled
  state  INTEGER NOT NULL,              -- 0 fetching, 1 synced, 2 released
  bytes  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX batch_open ON batch (state) WHERE state < 2;

-- Keys by fingerprint. No secret is ever stored here.
CREATE TABLE seal_key (
  id          INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  cipher      TEXT NOT NULL,            -- aes-256-ctr; aes-256-cbc for objects of older archives
  iterations  INTEGER NOT NULL,
  added       INTEGER NOT NULL,         -- Unix ns
  copy_seen   INTEGER NOT NULL DEFAULT 0 -- Unix ns when a second copy of the key file was shown
) STRICT;

-- Every salt ever drawn: CTR must never use a key stream twice.
CREATE TABLE salt (
  key     INTEGER NOT NULL REFERENCES seal_key (id),
  salt    BLOB NOT NULL,                -- 8 bytes
  purpose TEXT NOT NULL,                -- object, manifest, snapshot, foreign
  drawn   INTEGER NOT NULL,             -- Unix ns
  used    INTEGER NOT NULL DEFAULT 0,   -- 1: an object was recorded as sealed under it; never again then
  PRIMARY KEY (key, salt)
) STRICT, WITHOUT ROWID;

-- One openssl message. A copy of it may lie in several pools.
CREATE TABLE object (
  id           INTEGER PRIMARY KEY,
  oid          TEXT NOT NULL UNIQUE,    -- 12 hex digits of Unix ms, 20 random
  run          INTEGER NOT NULL REFERENCES run (id),
  source       INTEGER NOT NULL REFERENCES source (id),
  batch        INTEGER REFERENCES batch (id),
  key          INTEGER NOT NULL REFERENCES seal_key (id),
  salt         BLOB,                    -- of the recorded sealing; NULL while planned
  part_size    INTEGER NOT NULL,        -- the grid, bytes, a multiple of 4 MiB
  planned_size INTEGER NOT NULL,        -- estimate of the sealed bytes
  plain_size   INTEGER NOT NULL DEFAULT 0,
  sealed_size  INTEGER NOT NULL DEFAULT 0,
  state        INTEGER NOT NULL,        -- 0 planned, 1 packed, 2 superseded, 3 dropped
  replaces     INTEGER REFERENCES object (id),
  created      INTEGER NOT NULL,        -- Unix ns
  FOREIGN KEY (key, salt) REFERENCES salt (key, salt)
) STRICT;
CREATE UNIQUE INDEX object_salt ON object (key, salt) WHERE salt IS NOT NULL;
CREATE INDEX object_planned ON object (state) WHERE state = 0;
CREATE INDEX object_batch ON object (batch);
CREATE INDEX object_replaces ON object (replaces);

-- Sums of the sealed bytes, the same for every copy.
CREATE TABLE part (
  object INTEGER NOT NULL REFERENCES object (id),
  number INTEGER NOT NULL,              -- from 0
  size   INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  sums   BLOB NOT NULL,                 -- SHA-256 of each 4 MiB extent, 32 bytes each
  PRIMARY KEY (object, number)
) STRICT;

-- What an object's tar stream holds, in order of id. Offsets are in the plain
-- stream, -1 until it was packed; data is -1 for what has no bytes of its own.
CREATE TABLE member (
  object  INTEGER NOT NULL REFERENCES object (id),
  version INTEGER NOT NULL REFERENCES version (id),
  header  INTEGER NOT NULL DEFAULT -1,
  data    INTEGER NOT NULL DEFAULT -1,
  PRIMARY KEY (object, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_version ON member (version);

CREATE TABLE pool (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  journalled INTEGER NOT NULL DEFAULT 0, -- the last change.id that a durable manifest of this pool names
  unsnapped  INTEGER NOT NULL DEFAULT 0  -- bytes written since the pool's last catalog snapshot
) STRICT;

CREATE TABLE tape (
  id         INTEGER PRIMARY KEY,
  barcode    TEXT NOT NULL UNIQUE,
  uuid       TEXT NOT NULL DEFAULT '',  -- LTFS volume UUID, the proof of identity; '' while not formatted by us
  pool       INTEGER REFERENCES pool (id),
  number     INTEGER NOT NULL DEFAULT 0, -- n-th tape of this catalog
  generation INTEGER NOT NULL DEFAULT 0, -- LTO generation; 0 unknown
  state      TEXT NOT NULL,             -- open, full, suspect, superseded, retired, foreign
  capacity   INTEGER NOT NULL DEFAULT 0, -- data partition, bytes
  free       INTEGER NOT NULL DEFAULT 0, -- as last seen mounted, bytes
  used       INTEGER NOT NULL DEFAULT 0, -- bytes of our parts on it
  leftover   INTEGER NOT NULL DEFAULT 0, -- bytes of files that have no row: space that is lost
  generation_index INTEGER NOT NULL DEFAULT 0, -- last proved LTFS index generation
  formatted  INTEGER NOT NULL DEFAULT 0, -- Unix ns
  seen       INTEGER NOT NULL DEFAULT 0, -- Unix ns of the last mount
  loads      INTEGER NOT NULL DEFAULT 0,
  place      TEXT NOT NULL DEFAULT '',  -- where an exported tape was put
  note       TEXT NOT NULL DEFAULT ''   -- why it is suspect, superseded, …
) STRICT;
CREATE UNIQUE INDEX tape_uuid ON tape (uuid) WHERE uuid <> '';

-- One object in one pool. state: 0 owed, 1 writing, 2 written, 3 durable, 4 damaged, 5 dropped.
CREATE TABLE copy (
  id       INTEGER PRIMARY KEY,
  object   INTEGER NOT NULL REFERENCES object (id),
  pool     INTEGER NOT NULL REFERENCES pool (id),
  state    INTEGER NOT NULL,
  verified INTEGER NOT NULL DEFAULT 0   -- Unix ns when its bytes were last proved
) STRICT;
CREATE UNIQUE INDEX copy_live ON copy (object, pool) WHERE state < 4;
CREATE INDEX copy_object ON copy (object);
CREATE INDEX copy_unfinished ON copy (pool, object) WHERE state < 3;

-- One part of a copy: one file on one tape.
-- state: 0 writing, 1 written, 2 durable, 3 abandoned, 4 damaged, 5 lost.
CREATE TABLE copy_part (
  id         INTEGER PRIMARY KEY,
  copy       INTEGER NOT NULL REFERENCES copy (id),
  number     INTEGER NOT NULL,
  tape       INTEGER NOT NULL REFERENCES tape (id),
  name       TEXT NOT NULL,             -- path on the tape
  size       INTEGER NOT NULL,          -- bytes written
  startblock INTEGER NOT NULL DEFAULT -1, -- LTFS block on the data partition; -1 unknown
  state      INTEGER NOT NULL,
  manifest   INTEGER REFERENCES manifest (id), -- that names it; NULL while none does
  written    INTEGER NOT NULL DEFAULT 0, -- Unix ns, as below
  durable    INTEGER NOT NULL DEFAULT 0,
  verified   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX copy_part_copy ON copy_part (copy, number);
CREATE INDEX copy_part_tape ON copy_part (tape, id);
CREATE INDEX copy_part_unsafe ON copy_part (tape, id) WHERE state < 2;
CREATE INDEX copy_part_unnamed ON copy_part (tape, id) WHERE manifest IS NULL AND (state = 1 OR state = 2);
CREATE INDEX copy_part_manifest ON copy_part (manifest) WHERE manifest IS NOT NULL;

-- The journal on tape: seq counts from 1 on each tape.
CREATE TABLE manifest (
  id       INTEGER PRIMARY KEY,
  tape     INTEGER NOT NULL REFERENCES tape (id),
  seq      INTEGER NOT NULL,
  name     TEXT NOT NULL,               -- path on the tape
  mac      BLOB NOT NULL,               -- 32 bytes
  previous BLOB NOT NULL,               -- 32 bytes, zeros for the first
  upto     INTEGER NOT NULL,            -- last change.id it names
  state    INTEGER NOT NULL,            -- 1 written, 2 durable, 3 lost
  written  INTEGER NOT NULL             -- Unix ns
) STRICT;
CREATE UNIQUE INDEX manifest_seq ON manifest (tape, seq) WHERE state < 3;

-- Catalog changes without bytes (vanished, revived, directory, metadata, replaced, forget), for the
-- next manifests.
CREATE TABLE change (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,             -- Unix ns
  run     INTEGER NOT NULL REFERENCES run (id),
  kind    TEXT NOT NULL,
  version INTEGER NOT NULL REFERENCES version (id),
  detail  TEXT NOT NULL DEFAULT ''      -- JSON
) STRICT;
CREATE INDEX change_version ON change (version);

-- Catalogs that were written to tape.
CREATE TABLE snapshot (
  id      INTEGER PRIMARY KEY,
  tape    INTEGER NOT NULL REFERENCES tape (id),
  name    TEXT NOT NULL,
  size    INTEGER NOT NULL,
  mac     BLOB NOT NULL,
  state   INTEGER NOT NULL,             -- 1 written, 2 durable, 3 lost
  written INTEGER NOT NULL
) STRICT;

CREATE TABLE run (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    TEXT NOT NULL,                -- archive, verify, repack, restore, format, rebuild
  args    TEXT NOT NULL,                -- JSON list
  pid     INTEGER NOT NULL,
  started INTEGER NOT NULL,             -- Unix ns
  ended   INTEGER NOT NULL DEFAULT 0,
  state   TEXT NOT NULL,                -- running, done, partial, failed, interrupted
  message TEXT NOT NULL DEFAULT ''
) STRICT;

-- What a run counted, by source ('' for what belongs to none).
CREATE TABLE run_count (
  run    INTEGER NOT NULL REFERENCES run (id),
  source TEXT NOT NULL,
  name   TEXT NOT NULL,                 -- listed, new, changed, vanished, skipped, fetched_bytes, …
  value  INTEGER NOT NULL,
  PRIMARY KEY (run, source, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_error (
  id      INTEGER PRIMARY KEY,
  run     INTEGER NOT NULL REFERENCES run (id),
  source  TEXT NOT NULL,
  path    BLOB NOT NULL,
  message TEXT NOT NULL
) STRICT;
CREATE INDEX run_error_run ON run_error (run);

CREATE TABLE run_tape (
  run   INTEGER NOT NULL REFERENCES run (id),
  tape  INTEGER NOT NULL REFERENCES tape (id),
  bytes INTEGER NOT NULL,
  parts INTEGER NOT NULL,
  PRIMARY KEY (run, tape)
) STRICT, WITHOUT ROWID;

CREATE TABLE drive (
  serial    TEXT PRIMARY KEY,
  product   TEXT NOT NULL DEFAULT '',
  state     TEXT NOT NULL DEFAULT 'ok', -- ok, suspect, cleaning
  failures  INTEGER NOT NULL DEFAULT 0, -- tapes that failed in it in a row
  cleanings INTEGER NOT NULL DEFAULT 0,
  cleaned   INTEGER NOT NULL DEFAULT 0, -- Unix ns
  note      TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- Cleaning cartridges and how often each was used.
CREATE TABLE cleaner (
  barcode TEXT PRIMARY KEY,
  uses    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Tapes somebody waits for that are not in the library.
CREATE TABLE wanted (
  tape   INTEGER NOT NULL REFERENCES tape (id),
  reason TEXT NOT NULL,
  since  INTEGER NOT NULL,
  PRIMARY KEY (tape, reason)
) STRICT, WITHOUT ROWID;

-- What the mount answers to df: current files and their bytes, kept by the triggers below.
CREATE TABLE total (
  id    INTEGER PRIMARY KEY CHECK (id = 1),
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO total (id, files, bytes) VALUES (1, 0, 0);

-- +goose StatementBegin
CREATE TRIGGER version_added AFTER INSERT ON version WHEN NEW.kind = 1 AND NEW.current = 1
BEGIN
  UPDATE total SET files = files + 1, bytes = bytes + NEW.size;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER version_changed AFTER UPDATE OF current, size ON version
WHEN NEW.kind = 1 AND (NEW.current <> OLD.current OR NEW.size <> OLD.size)
BEGIN
  UPDATE total SET files = files + NEW.current - OLD.current,
    bytes = bytes + NEW.current * NEW.size - OLD.current * OLD.size;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER version_removed AFTER DELETE ON version WHEN OLD.kind = 1 AND OLD.current = 1
BEGIN
  UPDATE total SET files = files - 1, bytes = bytes - OLD.size;
END;
-- +goose StatementEnd
