-- +goose Up

-- Objects of imported archives: files on tapes of another program, never written by us. There are no
-- rows in part until such a file was read whole and its MD5 was right.
CREATE TABLE foreign_object (
  object INTEGER PRIMARY KEY REFERENCES object (id),
  md5    BLOB NOT NULL                  -- 16 bytes, of the sealed file
) STRICT;
