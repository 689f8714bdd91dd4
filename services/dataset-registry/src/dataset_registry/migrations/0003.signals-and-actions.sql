-- What production told us, and the one piece of work that each signal leads to.

CREATE TABLE signals (
    signal_id       uuid PRIMARY KEY,
    kind            text NOT NULL,
    scope           jsonb NOT NULL,
    window_start    timestamptz NOT NULL,
    window_end      timestamptz NOT NULL,
    measured        double precision NOT NULL,
    expected        double precision NOT NULL,
    threshold       double precision NOT NULL,
    unit            text NOT NULL,
    sample_size     integer NOT NULL,
    evidence        text[] NOT NULL,
    suspected_cause text NOT NULL,
    explanation     text NOT NULL,
    raised_at       timestamptz NOT NULL
);

CREATE TABLE actions (
    action_id       uuid PRIMARY KEY,
    signal_id       uuid NOT NULL UNIQUE REFERENCES signals,   -- one action for each signal, ever
    kind            text NOT NULL,
    title           text NOT NULL,
    line            text NOT NULL DEFAULT '',                  -- '' is any
    station         text NOT NULL DEFAULT '',
    owner           text NOT NULL,
    due_at          timestamptz NOT NULL,
    opened_at       timestamptz NOT NULL,
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    outcome         text CHECK (outcome IN ('done', 'no-action')),
    proof           jsonb NOT NULL DEFAULT '{}',
    note            text,
    closed_by       text,
    closed_at       timestamptz,
    CHECK ((state = 'closed') = (outcome IS NOT NULL AND note IS NOT NULL AND closed_by IS NOT NULL AND closed_at IS NOT NULL))
);

CREATE INDEX actions_queue ON actions (state, due_at, action_id);
