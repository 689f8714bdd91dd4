-- What is in force, each version kept: a label or a decision of any past time can be explained from here.

CREATE TABLE station_versions (
    sequence     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    line         text NOT NULL,
    station      text NOT NULL,
    document     jsonb NOT NULL,
    published_by text NOT NULL,
    published_at timestamptz NOT NULL
);

CREATE INDEX station_versions_latest ON station_versions (line, station, sequence DESC);

CREATE TABLE policies (
    sequence     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version      text NOT NULL UNIQUE,
    line         text NOT NULL,
    station      text NOT NULL,
    document     jsonb NOT NULL,
    published_by text NOT NULL,
    published_at timestamptz NOT NULL
);

CREATE TABLE taxonomies (
    sequence     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version      text NOT NULL UNIQUE,
    document     jsonb NOT NULL,
    published_by text NOT NULL,
    published_at timestamptz NOT NULL
);

CREATE TABLE releases (
    release      text PRIMARY KEY,
    bundle       jsonb NOT NULL,
    task         text NOT NULL,
    classes      text[] NOT NULL,
    dataset_hash text NOT NULL,
    metrics      jsonb NOT NULL,
    pass_below   double precision NOT NULL,
    reject_from  double precision NOT NULL,
    trained_at   timestamptz NOT NULL
);

CREATE INDEX releases_by_time ON releases (trained_at DESC, release DESC);

-- Every promotion and rollback; the last one of a scope and mode is in force.
CREATE TABLE deployments (
    sequence     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    line         text NOT NULL,                -- '' is any
    station      text NOT NULL,
    mode         text NOT NULL CHECK (mode IN ('active', 'shadow')),
    release      text NOT NULL REFERENCES releases,
    from_release text,
    rolled_back  boolean NOT NULL,
    reason       text,
    ordered_by   text NOT NULL,
    ordered_at   timestamptz NOT NULL
);

CREATE INDEX deployments_in_force ON deployments (mode, line, station, sequence DESC);

CREATE TABLE dataset_snapshots (
    hash       text PRIMARY KEY,
    purpose    text NOT NULL,
    filter     jsonb NOT NULL,
    manifest   jsonb NOT NULL,                 -- claim check of the manifest object
    items      integer NOT NULL,
    classes    jsonb NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE INDEX dataset_snapshots_by_time ON dataset_snapshots (created_at DESC, hash DESC);

-- What a command answered, by its idempotency key: a repeat gets the same answer and changes nothing.
CREATE TABLE command_answers (
    key         text PRIMARY KEY,
    fingerprint text NOT NULL,
    status      integer NOT NULL,
    body        json NOT NULL,                 -- json, not jsonb: the repeat gets the very same text
    answered_at timestamptz NOT NULL
);
