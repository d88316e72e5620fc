PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO goose_db_version VALUES(1,0,1,'2026-11-29 11:29:05');
INSERT INTO goose_db_version VALUES(2,1,1,'2026-11-29 11:29:05');
INSERT INTO goose_db_version VALUES(3,4,1,'2026-11-29 11:29:05');
INSERT INTO goose_db_version VALUES(4,5,1,'2026-11-29 11:29:05');
INSERT INTO goose_db_version VALUES(5,7,1,'2026-11-29 11:29:05');
INSERT INTO goose_db_version VALUES(6,8,1,'2026-11-29 11:29:05');
INSERT INTO goose_db_version VALUES(7,10,1,'2026-11-29 11:29:05');
INSERT INTO goose_db_version VALUES(8,12,1,'2026-11-29 11:29:05');
INSERT INTO goose_db_version VALUES(9,13,1,'2026-11-29 11:29:05');
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES('created','2026-11-29T11:29:05Z');
INSERT INTO meta VALUES('format','1');
INSERT INTO meta VALUES('uuid','729d1aaa-5658-44fe-bb8d-ed424cb67be9');
CREATE TABLE owner (
  id    INTEGER PRIMARY KEY,
  uid   INTEGER NOT NULL,
  gid   INTEGER NOT NULL,
  uname BLOB NOT NULL,
  gname BLOB NOT NULL,
  UNIQUE (uid, gid, uname, gname)
) STRICT;
INSERT INTO owner VALUES(1,0,0,X'',X'');
INSERT INTO owner VALUES(2,0,0,X'726f6f74',X'726f6f74');
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
, ctime INTEGER, ino   INTEGER, grew INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO version VALUES(1,1,X'',2,493,1,0,1795951745,0,1,1,1,NULL,NULL,1,1,1795951745380462541,0,0,NULL,NULL,NULL,0);
INSERT INTO version VALUES(2,1,X'737263',2,493,2,0,1795951745,708515432,2,1,2,NULL,NULL,1,1,1795951745828650397,0,0,NULL,NULL,NULL,0);
INSERT INTO version VALUES(3,2,X'61',1,420,2,13,1795951745,708515432,3,1,3,NULL,X'ae1234b2b51186ede2fca3f1c69ec585b263c4bdc45adaafcd3921bd3eb9fea6',1,1,1795951747805758379,0,0,NULL,1795951745708515432,10006225,0);
INSERT INTO version VALUES(4,2,X'66696c6d',1,420,2,3000000,1795951745,708515432,4,1,4,NULL,X'4ce626d20d9babac7297710d06e4b9f35094c1621eb6f490577df77af7f3460c',1,1,1795951747805758379,0,0,NULL,1795951745708515432,10003523,0);
INSERT INTO version VALUES(5,1,X'626164',2,493,2,0,1795951751,631946380,5,1,5,NULL,NULL,1,1,1795951751730195001,0,0,NULL,NULL,NULL,0);
INSERT INTO version VALUES(6,5,X'66696c6d',1,420,2,9000000,1795951751,683946381,6,1,6,NULL,NULL,1,1,1795951752659473109,0,0,2,1795951751683946381,10003812,0);
CREATE TABLE source (
  id       INTEGER PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  url      TEXT NOT NULL,
  root     INTEGER NOT NULL REFERENCES version (id),
  listed   INTEGER NOT NULL DEFAULT 0   -- Unix ns of the last complete listing
) STRICT;
INSERT INTO source VALUES(1,'src','/srv/tapefs/src',2,1795951745838827512);
INSERT INTO source VALUES(2,'bad','/srv/tapefs/bad',5,1795951757295586556);
CREATE TABLE batch (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  run    INTEGER NOT NULL REFERENCES run (id),
  source INTEGER NOT NULL REFERENCES source (id),
  dir    TEXT NOT NULL,                 -- below the spool; for a source read in place: its absolute root
  local  INTEGER NOT NULL DEFAULT 0,    -- 1: the source is read in place, nothing is spooled
  state  INTEGER NOT NULL,              -- 0 fetching, 1 synced, 2 released
  bytes  INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO batch VALUES(1,1,1,'/srv/tapefs/src',1,2,3000013);
INSERT INTO batch VALUES(2,5,2,'/srv/tapefs/bad',1,1,9000000);
CREATE TABLE seal_key (
  id          INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  cipher      TEXT NOT NULL,            -- aes-256-ctr; aes-256-cbc for objects of older archives
  iterations  INTEGER NOT NULL,
  added       INTEGER NOT NULL,         -- Unix ns
  copy_seen   INTEGER NOT NULL DEFAULT 0 -- Unix ns when a second copy of the key file was shown
) STRICT;
INSERT INTO seal_key VALUES(1,'33ba8e5057080188','aes-256-ctr',10000,1795951745390520294,0);
CREATE TABLE salt (
  key     INTEGER NOT NULL REFERENCES seal_key (id),
  salt    BLOB NOT NULL,                -- 8 bytes
  purpose TEXT NOT NULL,                -- object, manifest, snapshot, foreign
  drawn   INTEGER NOT NULL,             -- Unix ns
  used    INTEGER NOT NULL DEFAULT 0,   -- 1: an object was recorded as sealed under it; never again then
  PRIMARY KEY (key, salt)
) STRICT, WITHOUT ROWID;
INSERT INTO salt VALUES(1,X'1d2a4b7ec81efc7f','snapshot',1795951749720694136,0);
INSERT INTO salt VALUES(1,X'33b192ea2317a36d','object',1795951747810808051,1);
INSERT INTO salt VALUES(1,X'426c69e66647d1b6','snapshot',1795951750267350236,0);
INSERT INTO salt VALUES(1,X'54c49f450c02ec77','manifest',1795951750239294810,0);
INSERT INTO salt VALUES(1,X'8a2b77e2bb78bba3','manifest',1795951747815313132,0);
INSERT INTO salt VALUES(1,X'8c142898bd20fa10','manifest',1795951748556694916,0);
INSERT INTO salt VALUES(1,X'a8d9a878fd93a3b4','manifest',1795951749681063781,0);
INSERT INTO salt VALUES(1,X'c5909a7ecd289b71','object',1795951752665106309,0);
INSERT INTO salt VALUES(1,X'd9ec448ecd89dfb4','object',1795951757297591929,0);
INSERT INTO salt VALUES(1,X'dcd76726783c5752','manifest',1795951748512417638,0);
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
INSERT INTO object VALUES(1,'01a22710e2d945908a35ed5c7bfc403d',1,1,1,1,X'33b192ea2317a36d',8388608,3021328,3006464,3006480,1,NULL,1795951747801400105);
INSERT INTO object VALUES(2,'01a22710f5d024bed1b3e41641b29cb2',5,2,2,1,NULL,8388608,9017872,0,0,0,NULL,1795951752657020916);
CREATE TABLE part (
  object INTEGER NOT NULL REFERENCES object (id),
  number INTEGER NOT NULL,              -- from 0
  size   INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  sums   BLOB NOT NULL,                 -- SHA-256 of each 4 MiB extent, 32 bytes each
  PRIMARY KEY (object, number)
) STRICT;
INSERT INTO part VALUES(1,0,3006480,X'468a975c65aafcfb55378647390f9d8ef0489461f66440fc413e52e38f925e5d',X'468a975c65aafcfb55378647390f9d8ef0489461f66440fc413e52e38f925e5d');
CREATE TABLE member (
  object  INTEGER NOT NULL REFERENCES object (id),
  version INTEGER NOT NULL REFERENCES version (id),
  header  INTEGER NOT NULL DEFAULT -1,
  data    INTEGER NOT NULL DEFAULT -1,
  PRIMARY KEY (object, version)
) STRICT, WITHOUT ROWID;
INSERT INTO member VALUES(1,2,0,-1);
INSERT INTO member VALUES(1,3,1536,3072);
INSERT INTO member VALUES(1,4,3584,5120);
INSERT INTO member VALUES(2,5,-1,-1);
INSERT INTO member VALUES(2,6,-1,-1);
CREATE TABLE pool (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  journalled INTEGER NOT NULL DEFAULT 0, -- the last change.id that a durable manifest of this pool names
  unsnapped  INTEGER NOT NULL DEFAULT 0  -- bytes written since the pool's last catalog snapshot
) STRICT;
INSERT INTO pool VALUES(1,'main',1,0);
INSERT INTO pool VALUES(2,'offsite',0,3006480);
INSERT INTO pool VALUES(3,'worn',0,0);
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
, suspected INTEGER NOT NULL DEFAULT 0, was TEXT NOT NULL DEFAULT '', found_damaged INTEGER NOT NULL DEFAULT 0, checked INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO tape VALUES(1,'VT0001L8','69781595-9380-451f-b205-06806d932b60',1,1,8,'superseded',67108864,63963136,0,3006480,3,1795951746871082706,1795951748552972438,1,'','repacked on 2026-11-29: nothing on it is needed',0,'',0,0);
INSERT INTO tape VALUES(2,'VT0004L8','',2,2,8,'open',67108864,67108864,0,0,0,0,1795951748596689693,1,'','being emptied of volume 0d977d39-30db-4d40-84b0-8c6e9a107687',0,'',0,0);
INSERT INTO tape VALUES(3,'VT0002L8','8443f608-8be7-446b-b71e-a1c877fca1c0',1,3,8,'superseded',67108864,63438848,3006480,0,5,1795951749618205757,1795951750280863018,1,'','being repacked since 2026-11-29',0,'',0,0);
INSERT INTO tape VALUES(4,'VT0003L8','',1,4,8,'open',0,0,0,0,0,1795951751078275329,0,0,'','its format began and was not recorded as done',0,'',0,0);
INSERT INTO tape VALUES(5,'VT0006L8','e949bdb8-95b4-47f1-81ed-386a6ecc75a6',3,5,8,'suspect',67108864,66584576,0,0,2,1795951752629592353,1795951757743632044,2,'','write part 1 of object 01a22710f5d024bed1b3e41641b29cb2 to tape VT0006L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b3e41641b29cb2.tar.enc.0001: input/output error',1795951757892288950,'open',0,0);
INSERT INTO tape VALUES(6,'VT0007L8','aae83b62-625a-4b1b-9391-12ba22337642',3,6,8,'suspect',67108864,66584576,0,0,2,1795951753782887579,1795951758803644141,2,'','write part 1 of object 01a22710f5d024bed1b3e41641b29cb2 to tape VT0007L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b3e41641b29cb2.tar.enc.0001: input/output error',1795951758870013227,'open',0,0);
INSERT INTO tape VALUES(7,'VT0008L8','bc7045bf-6a20-4ea6-82ad-23b56be1a7a8',3,7,8,'open',67108864,66584576,0,0,2,1795951754752413771,1795951756717813285,1,'','failed in drive VTLDRV0002, which is suspect',0,'',0,0);
CREATE TABLE copy (
  id       INTEGER PRIMARY KEY,
  object   INTEGER NOT NULL REFERENCES object (id),
  pool     INTEGER NOT NULL REFERENCES pool (id),
  state    INTEGER NOT NULL,
  verified INTEGER NOT NULL DEFAULT 0   -- Unix ns when its bytes were last proved
) STRICT;
INSERT INTO copy VALUES(1,1,1,3,1795951750147922567);
INSERT INTO copy VALUES(2,1,2,0,0);
INSERT INTO copy VALUES(3,2,3,0,0);
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
INSERT INTO copy_part VALUES(1,2,0,2,'tapefs/33ba8e5057080188/01a22710e2d945908a35ed5c7bfc403d.tar.enc',3006480,18,5,NULL,1795951748503615965,1795951748596689693,0);
INSERT INTO copy_part VALUES(2,1,0,1,'tapefs/33ba8e5057080188/01a22710e2d945908a35ed5c7bfc403d.tar.enc',3006480,12,3,2,1795951748493516681,1795951748552972438,0);
INSERT INTO copy_part VALUES(3,1,0,3,'tapefs/33ba8e5057080188/01a22710e2d945908a35ed5c7bfc403d.tar.enc',3006480,12,2,5,1795951749670125815,1795951749742525779,1795951750147922567);
INSERT INTO copy_part VALUES(4,3,0,5,'tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001',0,-1,3,NULL,0,0,0);
INSERT INTO copy_part VALUES(5,3,0,6,'tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001',0,-1,3,NULL,0,0,0);
INSERT INTO copy_part VALUES(6,3,0,7,'tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001',0,-1,3,NULL,0,0,0);
INSERT INTO copy_part VALUES(7,3,0,5,'tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001',0,-1,3,NULL,0,0,0);
INSERT INTO copy_part VALUES(8,3,0,6,'tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001',0,-1,3,NULL,0,0,0);
INSERT INTO copy_part VALUES(9,3,0,7,'tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001',0,-1,3,NULL,0,0,0);
INSERT INTO copy_part VALUES(10,3,0,5,'tapefs/33ba8e5057080188/01a22710f5d024bed1b3e41641b29cb2.tar.enc.0001',0,-1,3,NULL,0,0,0);
INSERT INTO copy_part VALUES(11,3,0,6,'tapefs/33ba8e5057080188/01a22710f5d024bed1b3e41641b29cb2.tar.enc.0001',0,-1,3,NULL,0,0,0);
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
, verified INTEGER NOT NULL DEFAULT 0, missed INTEGER NOT NULL DEFAULT 0, after INTEGER) STRICT;
INSERT INTO manifest VALUES(1,2,1,'tapefs/33ba8e5057080188/manifest-0d977d39-30db-4d40-84b0-8c6e9a107687-000001.tar.enc',X'729f4c97be99b2cdbd690f195e2995b6741cfe31f085e231e92d0750c2810cb8',X'0000000000000000000000000000000000000000000000000000000000000000',1,3,1795951747815871243,0,0,0);
INSERT INTO manifest VALUES(2,1,1,'tapefs/33ba8e5057080188/manifest-69781595-9380-451f-b205-06806d932b60-000001.tar.enc',X'72749cf1d8c30cb630e50f5d15b3cf515c395a257601a04a5ec6773ea7c9873a',X'0000000000000000000000000000000000000000000000000000000000000000',1,2,1795951748514606855,0,0,0);
INSERT INTO manifest VALUES(3,2,2,'tapefs/33ba8e5057080188/manifest-0d977d39-30db-4d40-84b0-8c6e9a107687-000002.tar.enc',X'9d4e12523fde265d6d7e91104c69593a3541a49970066deeb4461f35c7375fbc',X'729f4c97be99b2cdbd690f195e2995b6741cfe31f085e231e92d0750c2810cb8',1,3,1795951748557142832,0,0,1);
INSERT INTO manifest VALUES(4,3,1,'tapefs/33ba8e5057080188/manifest-8443f608-8be7-446b-b71e-a1c877fca1c0-000001.tar.enc',X'856a9f08c7d7635f67c016af8902562174d6a316163b0dde9e1c5e4ad059acee',X'0000000000000000000000000000000000000000000000000000000000000000',1,2,1795951749681544086,0,0,1);
INSERT INTO manifest VALUES(5,3,2,'tapefs/33ba8e5057080188/manifest-8443f608-8be7-446b-b71e-a1c877fca1c0-000002.tar.enc',X'5dd8816858c8047e4b2942aee0d3490c40d1bc23d7a7720cb4f606e4869cb057',X'856a9f08c7d7635f67c016af8902562174d6a316163b0dde9e1c5e4ad059acee',1,2,1795951750239765831,0,0,0);
CREATE TABLE change (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,             -- Unix ns
  run     INTEGER NOT NULL REFERENCES run (id),
  kind    TEXT NOT NULL,
  version INTEGER NOT NULL REFERENCES version (id),
  detail  TEXT NOT NULL DEFAULT ''      -- JSON
) STRICT;
INSERT INTO change VALUES(1,1795951747804959901,1,'metadata',2,'');
INSERT INTO change VALUES(2,1795951752658849622,5,'metadata',5,'');
CREATE TABLE snapshot (
  id      INTEGER PRIMARY KEY,
  tape    INTEGER NOT NULL REFERENCES tape (id),
  name    TEXT NOT NULL,
  size    INTEGER NOT NULL,
  mac     BLOB NOT NULL,
  state   INTEGER NOT NULL,             -- 1 written, 2 durable, 3 lost
  written INTEGER NOT NULL
, verified INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO snapshot VALUES(1,3,'tapefs/33ba8e5057080188/catalog-20261129T112909.720Z.tar.enc',281104,X'69b471d9066dbc203030d8a2b2c211ab8c959e05253994e2d3f616bb9259f890',2,1795951749738738224,0);
INSERT INTO snapshot VALUES(2,3,'tapefs/33ba8e5057080188/catalog-20261129T112910.267Z.tar.enc',281104,X'9162f1faebf4a22066645eca5d0734e13c652e8821398ae907cf6d9c54e25427',2,1795951750276623481,0);
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
INSERT INTO run VALUES(1,'archive','["src"]',17646,1795951745826411156,1795951748916460944,'done','');
INSERT INTO run VALUES(2,'repack','["VT0001L8"]',18775,1795951748958724015,1795951750593019029,'done','');
INSERT INTO run VALUES(3,'repack','["VT0002L8"]',19784,1795951750645449962,0,'interrupted','its process ended without a word');
INSERT INTO run VALUES(4,'erase','["VT0004L8"]',20238,1795951751153551542,0,'interrupted','its process ended without a word');
INSERT INTO run VALUES(5,'archive','["bad"]',20530,1795951751728384238,1795951757197093405,'partial',replace('choose a drive: an operator is needed: drive VTLDRV0001 is suspect: VT0006L8 VT0007L8 VT0008L8 failed in a row: write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0001/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error\ndrive VTLDRV0002 is suspect: VT0006L8 VT0007L8 VT0008L8 failed in a row: write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error','\n',char(10)));
INSERT INTO run VALUES(6,'archive','["bad"]',23210,1795951757282400740,1795951759762230549,'failed','write to tape VT0004L8: the catalog is older than the tape: it is tape 2 of this archive, pool offsite, with 1 files of objects (2.9 MiB), volume 0d977d39-30db-4d40-84b0-8c6e9a107687, and the catalog does not know it');
CREATE TABLE run_count (
  run    INTEGER NOT NULL REFERENCES run (id),
  source TEXT NOT NULL,
  name   TEXT NOT NULL,                 -- listed, new, changed, vanished, skipped, fetched_bytes, …
  value  INTEGER NOT NULL,
  PRIMARY KEY (run, source, name)
) STRICT, WITHOUT ROWID;
INSERT INTO run_count VALUES(1,'src','directories',1);
INSERT INTO run_count VALUES(1,'src','fetched',2);
INSERT INTO run_count VALUES(1,'src','fetched_bytes',3000013);
INSERT INTO run_count VALUES(1,'src','followed_parts',1);
INSERT INTO run_count VALUES(1,'src','grown',0);
INSERT INTO run_count VALUES(1,'src','listed',2);
INSERT INTO run_count VALUES(1,'src','new',2);
INSERT INTO run_count VALUES(1,'src','objects',1);
INSERT INTO run_count VALUES(1,'src','planned',2);
INSERT INTO run_count VALUES(1,'src','planned_bytes',3000013);
INSERT INTO run_count VALUES(1,'src','read_bytes',3000013);
INSERT INTO run_count VALUES(1,'src','void',0);
INSERT INTO run_count VALUES(1,'src','write_ms',112);
INSERT INTO run_count VALUES(1,'src','written_bytes',6012960);
INSERT INTO run_count VALUES(1,'src','written_parts',2);
INSERT INTO run_count VALUES(2,'src','copied_parts',1);
INSERT INTO run_count VALUES(2,'src','written_bytes',3006480);
INSERT INTO run_count VALUES(2,'src','written_parts',1);
INSERT INTO run_count VALUES(5,'bad','directories',1);
INSERT INTO run_count VALUES(5,'bad','fetched',1);
INSERT INTO run_count VALUES(5,'bad','fetched_bytes',9000000);
INSERT INTO run_count VALUES(5,'bad','listed',1);
INSERT INTO run_count VALUES(5,'bad','new',1);
INSERT INTO run_count VALUES(5,'bad','planned',1);
INSERT INTO run_count VALUES(5,'bad','planned_bytes',9000000);
INSERT INTO run_count VALUES(6,'bad','directories',1);
INSERT INTO run_count VALUES(6,'bad','listed',1);
INSERT INTO run_count VALUES(6,'bad','same',1);
CREATE TABLE run_error (
  id      INTEGER PRIMARY KEY,
  run     INTEGER NOT NULL REFERENCES run (id),
  source  TEXT NOT NULL,
  path    BLOB NOT NULL,
  message TEXT NOT NULL
) STRICT;
INSERT INTO run_error VALUES(1,5,'',X'','write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0006L8: write /srv/tapefs/state/run/ltfs/VTLDRV0001/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error');
INSERT INTO run_error VALUES(2,5,'',X'','write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0007L8: write /srv/tapefs/state/run/ltfs/VTLDRV0001/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error');
INSERT INTO run_error VALUES(3,5,'',X'','write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0001/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error');
INSERT INTO run_error VALUES(4,5,'',X'','drive VTLDRV0001 is set aside: 3 tapes in a row failed in it, the last one VT0008L8');
INSERT INTO run_error VALUES(5,5,'',X'','write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0006L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error');
INSERT INTO run_error VALUES(6,5,'',X'','write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0007L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error');
INSERT INTO run_error VALUES(7,5,'',X'','write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error');
INSERT INTO run_error VALUES(8,5,'',X'','drive VTLDRV0002 is set aside: 3 tapes in a row failed in it, the last one VT0008L8');
INSERT INTO run_error VALUES(9,5,'',X'',replace('choose a drive: an operator is needed: drive VTLDRV0001 is suspect: VT0006L8 VT0007L8 VT0008L8 failed in a row: write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0001/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error\ndrive VTLDRV0002 is suspect: VT0006L8 VT0007L8 VT0008L8 failed in a row: write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error','\n',char(10)));
INSERT INTO run_error VALUES(10,5,'',X'',replace('pool offsite has lost a manifest with changes that no other names (deletions and the like): choose a drive: an operator is needed: drive VTLDRV0001 is suspect: VT0006L8 VT0007L8 VT0008L8 failed in a row: write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0001/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error\ndrive VTLDRV0002 is suspect: VT0006L8 VT0007L8 VT0008L8 failed in a row: write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error','\n',char(10)));
INSERT INTO run_error VALUES(11,6,'',X'','write part 1 of object 01a22710f5d024bed1b3e41641b29cb2 to tape VT0006L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b3e41641b29cb2.tar.enc.0001: input/output error');
INSERT INTO run_error VALUES(12,6,'',X'','write part 1 of object 01a22710f5d024bed1b3e41641b29cb2 to tape VT0007L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b3e41641b29cb2.tar.enc.0001: input/output error');
CREATE TABLE run_tape (
  run   INTEGER NOT NULL REFERENCES run (id),
  tape  INTEGER NOT NULL REFERENCES tape (id),
  bytes INTEGER NOT NULL,
  parts INTEGER NOT NULL,
  PRIMARY KEY (run, tape)
) STRICT, WITHOUT ROWID;
INSERT INTO run_tape VALUES(1,1,3006480,1);
INSERT INTO run_tape VALUES(1,2,3006480,1);
INSERT INTO run_tape VALUES(2,3,3006480,1);
CREATE TABLE drive (
  serial    TEXT PRIMARY KEY,
  product   TEXT NOT NULL DEFAULT '',
  state     TEXT NOT NULL DEFAULT 'ok', -- ok, suspect, cleaning
  failures  INTEGER NOT NULL DEFAULT 0, -- tapes that failed in it in a row
  cleanings INTEGER NOT NULL DEFAULT 0,
  cleaned   INTEGER NOT NULL DEFAULT 0, -- Unix ns
  note      TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
INSERT INTO drive VALUES('VTLDRV0001','','suspect',3,0,0,'VT0006L8 VT0007L8 VT0008L8 failed in a row: write part 1 of object 01a22710f5d024bed1b2f28d852b68c1 to tape VT0008L8: write /srv/tapefs/state/run/ltfs/VTLDRV0001/tapefs/33ba8e5057080188/01a22710f5d024bed1b2f28d852b68c1.tar.enc.0001: input/output error');
INSERT INTO drive VALUES('VTLDRV0002','','ok',2,0,0,'VT0006L8 VT0007L8 failed in a row: write part 1 of object 01a22710f5d024bed1b3e41641b29cb2 to tape VT0007L8: write /srv/tapefs/state/run/ltfs/VTLDRV0002/tapefs/33ba8e5057080188/01a22710f5d024bed1b3e41641b29cb2.tar.enc.0001: input/output error');
CREATE TABLE cleaner (
  barcode TEXT PRIMARY KEY,
  uses    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE wanted (
  tape   INTEGER NOT NULL REFERENCES tape (id),
  reason TEXT NOT NULL,
  since  INTEGER NOT NULL,
  PRIMARY KEY (tape, reason)
) STRICT, WITHOUT ROWID;
CREATE TABLE total (
  id    INTEGER PRIMARY KEY CHECK (id = 1),
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO total VALUES(1,3,12000013);
CREATE TABLE foreign_object (
  object INTEGER PRIMARY KEY REFERENCES object (id),
  md5    BLOB NOT NULL                  -- 16 bytes, of the sealed file
) STRICT;
CREATE TABLE spool_rot (
  version INTEGER PRIMARY KEY REFERENCES version (id) ON DELETE CASCADE,
  found   INTEGER NOT NULL,             -- Unix ns
  why     TEXT NOT NULL
) STRICT;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('goose_db_version',9);
INSERT INTO sqlite_sequence VALUES('version',6);
INSERT INTO sqlite_sequence VALUES('run',6);
INSERT INTO sqlite_sequence VALUES('batch',2);
INSERT INTO sqlite_sequence VALUES('change',2);
CREATE UNIQUE INDEX version_path ON version (parent, name) WHERE current = 1;
CREATE INDEX version_children ON version (parent, current, id);
CREATE INDEX version_past ON version (parent, name) WHERE current = 0;
CREATE INDEX version_batch ON version (batch) WHERE batch IS NOT NULL;
CREATE INDEX version_inode ON version (inode) WHERE inode <> id;
CREATE INDEX version_data ON version (data) WHERE data <> id;
CREATE INDEX version_sha256 ON version (size, sha256) WHERE sha256 IS NOT NULL AND size >= 1048576;
CREATE INDEX batch_open ON batch (state) WHERE state < 2;
CREATE UNIQUE INDEX object_salt ON object (key, salt) WHERE salt IS NOT NULL;
CREATE INDEX object_planned ON object (state) WHERE state = 0;
CREATE INDEX object_batch ON object (batch);
CREATE INDEX object_replaces ON object (replaces);
CREATE INDEX member_version ON member (version);
CREATE UNIQUE INDEX tape_uuid ON tape (uuid) WHERE uuid <> '';
CREATE UNIQUE INDEX copy_live ON copy (object, pool) WHERE state < 4;
CREATE INDEX copy_object ON copy (object);
CREATE INDEX copy_unfinished ON copy (pool, object) WHERE state < 3;
CREATE INDEX copy_part_copy ON copy_part (copy, number);
CREATE INDEX copy_part_tape ON copy_part (tape, id);
CREATE INDEX copy_part_unsafe ON copy_part (tape, id) WHERE state < 2;
CREATE INDEX copy_part_unnamed ON copy_part (tape, id) WHERE manifest IS NULL AND (state = 1 OR state = 2);
CREATE INDEX copy_part_manifest ON copy_part (manifest) WHERE manifest IS NOT NULL;
CREATE UNIQUE INDEX manifest_seq ON manifest (tape, seq) WHERE state < 3;
CREATE INDEX change_version ON change (version);
CREATE INDEX run_error_run ON run_error (run);
CREATE TRIGGER version_added AFTER INSERT ON version WHEN NEW.kind = 1 AND NEW.current = 1
BEGIN
  UPDATE total SET files = files + 1, bytes = bytes + NEW.size;
END;
CREATE TRIGGER version_changed AFTER UPDATE OF current, size ON version
WHEN NEW.kind = 1 AND (NEW.current <> OLD.current OR NEW.size <> OLD.size)
BEGIN
  UPDATE total SET files = files + NEW.current - OLD.current,
    bytes = bytes + NEW.current * NEW.size - OLD.current * OLD.size;
END;
CREATE TRIGGER version_removed AFTER DELETE ON version WHEN OLD.kind = 1 AND OLD.current = 1
BEGIN
  UPDATE total SET files = files - 1, bytes = bytes - OLD.size;
END;
CREATE INDEX version_void ON version (id) WHERE state = 2;
CREATE INDEX copy_damaged ON copy (object) WHERE state = 4;
COMMIT;
