-- +goose Up

-- How far something is that takes a tape several steps: '' nothing is under way; formatting: its format began and was not recorded
-- as done; repacking: what is needed on it goes to other tapes; repacked: nothing on it is needed. Up to now the note said so, which
-- from here on is text for people.
ALTER TABLE tape ADD COLUMN stage TEXT NOT NULL DEFAULT '';
-- The volume that the catalog let go, until the tape is erased or formatted: who was interrupted in between knows it again.
ALTER TABLE tape ADD COLUMN emptied_uuid TEXT NOT NULL DEFAULT '';
UPDATE tape SET stage = CASE WHEN substr(note, 1, 12) = 'repacked on ' THEN 'repacked' ELSE 'repacking' END WHERE state = 'superseded';
UPDATE tape SET stage = 'formatting' WHERE uuid = '' AND formatted <> 0 AND state <> 'foreign';
UPDATE tape SET emptied_uuid = substr(note, 25) WHERE uuid = '' AND substr(note, 1, 24) = 'being emptied of volume ';

-- The tapes that failed in a drive one after the other, since one worked in it. Their number is that of its failures.
CREATE TABLE drive_failure (
  serial  TEXT NOT NULL REFERENCES drive (serial) ON DELETE CASCADE,
  barcode TEXT NOT NULL,
  PRIMARY KEY (serial, barcode)
) STRICT, WITHOUT ROWID;
INSERT INTO drive_failure (serial, barcode)
  WITH RECURSIVE word (serial, barcode, rest) AS (
    SELECT serial, '', substr(note, 1, instr(note, ' failed in a row: ')) FROM drive WHERE failures > 0 AND instr(note, ' failed in a row: ') > 0
    UNION ALL SELECT serial, substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1) FROM word WHERE rest <> '')
  SELECT DISTINCT serial, barcode FROM word WHERE barcode <> '';
ALTER TABLE drive DROP COLUMN failures;
