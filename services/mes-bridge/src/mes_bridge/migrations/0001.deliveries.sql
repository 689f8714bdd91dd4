-- Dispositions as they are delivered. `position` orders the feed; it is given out under an advisory lock that is held
-- until the commit, so that a row never becomes visible behind a reader's cursor.
CREATE TABLE dispositions (
    position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    disposition_id uuid PRIMARY KEY,
    capture_id uuid NOT NULL,
    revision integer NOT NULL,
    line text NOT NULL,
    station text NOT NULL,
    part text NOT NULL,
    kind text NOT NULL,
    body text NOT NULL,
    traceparent text,
    kept_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (capture_id, revision)
);
COMMENT ON COLUMN dispositions.body IS 'JSON, byte for byte what every endpoint gets at every attempt';
COMMENT ON COLUMN dispositions.part IS 'What keeps its order: line/station/part, or the capture';

CREATE TABLE deliveries (
    delivery_id uuid PRIMARY KEY,
    endpoint text NOT NULL,
    disposition_id uuid NOT NULL REFERENCES dispositions,
    position bigint NOT NULL,
    part text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'stuck', 'abandoned')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    lease text,
    status_code integer,
    reason text,
    queued_at timestamptz NOT NULL,
    settled_at timestamptz,
    settled_by text,
    UNIQUE (endpoint, disposition_id)
) WITH (fillfactor = 70);
COMMENT ON COLUMN deliveries.next_attempt_at IS 'While an attempt runs: when its lease ends and another courier may try';
CREATE INDEX deliveries_due ON deliveries (endpoint, next_attempt_at, position) WHERE state = 'pending';
CREATE INDEX deliveries_open ON deliveries (endpoint, part, position) WHERE state IN ('pending', 'stuck');
CREATE INDEX deliveries_stuck ON deliveries (position) WHERE state = 'stuck';

-- How each endpoint is doing.
CREATE TABLE endpoints (
    name text PRIMARY KEY,
    acknowledged bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    failures_in_a_row integer NOT NULL DEFAULT 0,
    last_acknowledged_at timestamptz,
    last_failed_at timestamptz,
    last_failure text
);

-- Findings by the sender's webhook id: a repeat gets the same answer and makes no second event.
CREATE TABLE findings (
    webhook_id text PRIMARY KEY,
    body_sha256 text NOT NULL,
    result jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
