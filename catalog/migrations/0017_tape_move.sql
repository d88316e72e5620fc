-- +goose Up

-- What tapes' motions took, from which the reading order learns where bytes lie along a tape. Only of this machine: no tape is told.
CREATE TABLE tape_move (
  id      INTEGER PRIMARY KEY,
  time    INTEGER NOT NULL,      -- Unix ns
  tape    INTEGER NOT NULL REFERENCES tape (id) ON DELETE CASCADE,
  kind    INTEGER NOT NULL,      -- 0 locate, 1 change: loaded, mounted and proved
  source  INTEGER NOT NULL,      -- of a locate: byte of the tape where the head stood
  target  INTEGER NOT NULL,      -- and the one that was read next
  took    INTEGER NOT NULL       -- ns
) STRICT;
CREATE INDEX tape_move_tape ON tape_move (tape, kind, id);
