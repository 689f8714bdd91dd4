-- What makes a capture unique: one trigger at one station, or, without a trigger id, one content at one station.
CREATE TABLE captures (
    capture_id   uuid PRIMARY KEY,
    line         text NOT NULL,
    station      text NOT NULL,
    trigger_id   text,
    sha256       text NOT NULL,
    received_via text NOT NULL,
    captured_at  timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,
    UNIQUE (line, station, trigger_id)
);
