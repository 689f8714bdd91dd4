-- Who did what, in one chain: each entry holds the hash of the one before, so nothing past can change unseen.

CREATE TABLE audit_entries (
    sequence      bigint PRIMARY KEY,          -- 1, 2, 3, ... without a gap
    at            timestamptz NOT NULL,
    actor         text NOT NULL,
    action        text NOT NULL,
    subject       text NOT NULL,
    detail        json NOT NULL,               -- json, not jsonb: the very text that was hashed
    previous_hash text NOT NULL,
    hash          text NOT NULL
);

CREATE INDEX audit_entries_by_time ON audit_entries (at DESC, sequence DESC);
CREATE INDEX audit_entries_by_actor ON audit_entries (actor, at DESC, sequence DESC);
CREATE INDEX audit_entries_by_subject ON audit_entries (subject, at DESC, sequence DESC);

CREATE TRIGGER audit_entries_are_append_only BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Where the chain ends: without it nobody would miss the last entries.
CREATE TABLE audit_end (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    sequence bigint NOT NULL,
    hash     text NOT NULL
) WITH (fillfactor = 50);

-- Appends an entry; `content` is the text of it that is hashed, with its place and the hash before. From here to the
-- end of the transaction nobody else appends, so this is the last thing that a command does.
CREATE FUNCTION append_audit(
    at timestamptz, actor text, action text, subject text, detail json, content text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    place    bigint;
    previous text;
    link     text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit:' || current_schema(), 0));
    SELECT e.sequence, e.hash INTO place, previous FROM audit_end e;
    place := coalesce(place, 0) + 1;
    previous := coalesce(previous, repeat('0', 64));
    link := encode(sha256(convert_to(place || E'\n' || previous || E'\n' || content, 'UTF8')), 'hex');
    INSERT INTO audit_entries VALUES (place, at, actor, action, subject, detail, previous, link);
    INSERT INTO audit_end (sequence, hash) VALUES (place, link)
        ON CONFLICT (single) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash;
END
$$;
