-- +goose Up

-- What a path cannot show any more is looked for each time something is listed: void versions, and files of objects
-- with damaged copies.
CREATE INDEX version_void ON version (id) WHERE state = 2;
CREATE INDEX copy_damaged ON copy (object) WHERE state = 4;
