-- A set of chunks and vectors of a collection. One is searched; another one may be under construction by a reindex.
CREATE TABLE generation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collection ON DELETE CASCADE,
    embedding_model TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    -- Raised with every change of its chunks.
    version INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX generation_of_collection ON generation (collection);

CREATE TABLE collection (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    -- The generation that is searched.
    searched INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE document (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collection ON DELETE CASCADE,
    -- The document's id for callers.
    name TEXT NOT NULL UNIQUE,
    title TEXT,
    metadata TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    -- Milliseconds since 1970.
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    content TEXT NOT NULL
) STRICT;

CREATE INDEX document_of_collection ON document (collection, name);
CREATE INDEX document_by_content ON document (collection, content_hash);

CREATE TABLE chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    generation INTEGER NOT NULL REFERENCES generation ON DELETE CASCADE,
    document INTEGER NOT NULL REFERENCES document ON DELETE CASCADE,
    position INTEGER NOT NULL,
    char_start INTEGER NOT NULL,
    char_end INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX chunk_of_document ON chunk (document, generation, position);
-- With all that filters ask about, so that they do not read the texts.
CREATE INDEX chunk_of_generation ON chunk (generation, document, position, char_start, char_end);

-- Apart from the chunks, because both are read without the other. 32-bit floats, little-endian, of length 1.
CREATE TABLE vector (
    chunk INTEGER PRIMARY KEY REFERENCES chunk ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    value BLOB NOT NULL
) STRICT;

CREATE INDEX vector_of_generation ON vector (generation);

-- Words of the chunks; scope is the generation, so that a search stays in its own.
CREATE VIRTUAL TABLE chunk_text USING fts5 (
    scope, content, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TRIGGER chunk_deleted AFTER DELETE ON chunk BEGIN
    DELETE FROM chunk_text WHERE rowid = old.id;
END;

-- Facts in metadata, for filters. Kinds: 0 boolean, 1 number, 2 text, 3 time in microseconds since 1970.
CREATE TABLE document_fact (
    collection INTEGER NOT NULL,
    path TEXT NOT NULL,
    kind INTEGER NOT NULL,
    value ANY NOT NULL,
    document INTEGER NOT NULL REFERENCES document ON DELETE CASCADE,
    PRIMARY KEY (collection, path, kind, value, document)
) STRICT, WITHOUT ROWID;

CREATE INDEX fact_of_document ON document_fact (document);

CREATE TABLE chunk_fact (
    generation INTEGER NOT NULL,
    path TEXT NOT NULL,
    kind INTEGER NOT NULL,
    value ANY NOT NULL,
    chunk INTEGER NOT NULL REFERENCES chunk ON DELETE CASCADE,
    PRIMARY KEY (generation, path, kind, value, chunk)
) STRICT, WITHOUT ROWID;

CREATE INDEX fact_of_chunk ON chunk_fact (chunk);
