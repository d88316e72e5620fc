-- +goose Up

-- Nobody asks for current versions by the time since when they are that.
DROP INDEX version_since;
