-- Columns get the names that the program uses. From here on aggregates are written in form 2, which a
-- program of version 1 does not read.
ALTER TABLE minute RENAME COLUMN figures TO aggregates;
ALTER TABLE hour RENAME COLUMN figures TO aggregates;
DROP INDEX failure_by_stranger;
ALTER TABLE failure RENAME COLUMN stranger TO unauthenticated;
CREATE INDEX failure_by_unauthenticated ON failure (unauthenticated, id);
