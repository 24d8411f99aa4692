-- minute.start and hour.start are minutes since 1970. minute.id is that of the part, so that to write one
-- again replaces it. Folded minutes are in the row of their hour, too.
CREATE TABLE minute (
    id INTEGER PRIMARY KEY,
    start INTEGER NOT NULL,
    folded INTEGER NOT NULL DEFAULT 0,
    figures BLOB NOT NULL
) STRICT;
CREATE INDEX minute_by_start ON minute (start);
CREATE INDEX minute_not_folded ON minute (start) WHERE folded = 0;
CREATE TABLE hour (start INTEGER PRIMARY KEY, figures BLOB NOT NULL) STRICT;
CREATE TABLE failure (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    status INTEGER NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    stranger INTEGER NOT NULL
) STRICT;
CREATE INDEX failure_by_stranger ON failure (stranger, id);
