-- Inbox: which events and commands this service has already acted on. Written in the same transaction as the state.
CREATE TABLE inbox (
    consumer text NOT NULL,
    id text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, id)
);
CREATE INDEX inbox_seen_at ON inbox USING brin (seen_at);

-- Outbox: what must be published because of that state. The relay sends it in order and deletes it.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key bytea,
    value bytea,
    headers jsonb NOT NULL
);
