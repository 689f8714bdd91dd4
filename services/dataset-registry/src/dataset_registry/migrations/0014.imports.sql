-- Labels that come in from files: how far each import is, and what is wrong in it.

CREATE TABLE imports (
    import_id    uuid PRIMARY KEY,             -- UUIDv5 of the archive and of what was asked
    source       text NOT NULL,
    format       text,                         -- null is found out
    archive      jsonb NOT NULL,               -- name, sha256, size_bytes, claim checks of its parts
    options      jsonb NOT NULL,               -- mapping, context, only_good, unmarked
    state        text NOT NULL DEFAULT 'waiting'
                 CHECK (state IN ('waiting', 'checking', 'importing', 'done', 'refused', 'failed')),
    total        integer,                      -- images in order; null before all were looked at
    checked      integer NOT NULL DEFAULT 0,
    done         integer NOT NULL DEFAULT 0,   -- images written, in the order of the archive
    added        integer NOT NULL DEFAULT 0,   -- of these, new ones
    problems     integer NOT NULL DEFAULT 0,
    attempts     integer NOT NULL DEFAULT 0,   -- without a step forward
    failure      text,
    leased_until timestamptz,
    imported_by  text NOT NULL,
    requested_at timestamptz NOT NULL,
    finished_at  timestamptz
);

CREATE INDEX imports_by_time ON imports (requested_at DESC, import_id DESC);
CREATE INDEX imports_unfinished ON imports (requested_at, import_id) WHERE finished_at IS NULL;

CREATE TABLE import_problems (
    import_id uuid NOT NULL REFERENCES imports,
    number    integer NOT NULL,                -- from 1, in the order of the archive
    file      text NOT NULL,
    line      integer,
    place     text NOT NULL,                -- inside the file, as its format names it
    reason    text NOT NULL,
    advice    text NOT NULL,
    PRIMARY KEY (import_id, number)
);

-- A file may name a picture by its content.
CREATE INDEX images_by_content ON images ((object->>'sha256'));
