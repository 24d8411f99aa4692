-- Responses that continue one another. They are kept, and removed, together.
CREATE TABLE conversation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- SHA-256 of the API key of its caller.
    owner BLOB NOT NULL,
    -- Seconds since 1970 of its newest response.
    used_at INTEGER NOT NULL
) STRICT;

CREATE INDEX conversation_by_use ON conversation (used_at);

CREATE TABLE response (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The response's id for callers.
    id TEXT NOT NULL UNIQUE,
    conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
    -- Id of the response that it continues, which may have been deleted.
    previous TEXT,
    is_finished INTEGER NOT NULL,
    -- JSON of the input, a list.
    input TEXT NOT NULL,
    -- JSON of the response.
    body TEXT NOT NULL
) STRICT;

CREATE INDEX response_of_conversation ON response (conversation);
