-- What the line saw and what was decided about it.

CREATE TABLE captures (
    capture_id   uuid PRIMARY KEY,
    line         text NOT NULL,
    station      text NOT NULL,
    context      jsonb NOT NULL,
    image        jsonb NOT NULL,
    trigger_id   text,
    missing      text[] NOT NULL DEFAULT '{}',
    received_via text,                        -- null until capture.recorded came; a disposition may overtake it
    captured_at  timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,
    revision     integer NOT NULL DEFAULT 0,  -- of the disposition that stands; 0 is not decided yet
    kind         text
);

CREATE INDEX captures_by_time ON captures (received_at DESC, capture_id DESC);
CREATE INDEX captures_by_station ON captures (line, station, received_at DESC, capture_id DESC);
CREATE INDEX captures_by_kind ON captures (kind, received_at DESC, capture_id DESC);

-- Every disposition ever decided, corrections included.
CREATE TABLE dispositions (
    disposition_id uuid PRIMARY KEY,
    capture_id     uuid NOT NULL,
    revision       integer NOT NULL,
    corrects       uuid,
    kind           text NOT NULL,
    reasons        text[] NOT NULL,
    severity       text,
    class_name     text,
    decided_by     text NOT NULL,
    evidence       jsonb NOT NULL,
    decided_at     timestamptz NOT NULL,
    latency_ms     double precision NOT NULL
);

CREATE UNIQUE INDEX dispositions_by_capture ON dispositions (capture_id, revision);

-- What the plant found out later.
CREATE TABLE findings (
    finding_id       uuid PRIMARY KEY,
    kind             text NOT NULL,
    capture_id       uuid NOT NULL,
    line             text NOT NULL,
    station          text NOT NULL,
    class_name       text,
    disposition_kind text,
    reported_by      text NOT NULL,
    note             text,
    found_at         timestamptz NOT NULL,
    received_at      timestamptz NOT NULL
);

CREATE INDEX findings_by_capture ON findings (capture_id);

-- Counts by station, kept as things happen: 'total', 'hour' and 'minute'. An empty line or station means any.
CREATE TABLE tallies (
    resolution text NOT NULL,
    period     timestamptz NOT NULL,
    line       text NOT NULL,
    station    text NOT NULL,
    measure    text NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (resolution, period, line, station, measure)
) WITH (fillfactor = 70);
