-- Work for people, what they said, and the labels that came of it.

CREATE TABLE reviews (
    review_id      uuid PRIMARY KEY,
    disposition_id uuid NOT NULL,
    capture_id     uuid NOT NULL,
    line           text NOT NULL,
    station        text NOT NULL,
    context        jsonb NOT NULL,
    image          jsonb NOT NULL,
    heat_map       jsonb,
    reasons        text[] NOT NULL,
    proposed_class text,
    defect_score   double precision,
    answers_wanted integer NOT NULL CHECK (answers_wanted BETWEEN 1 AND 2),
    answers_given  integer NOT NULL DEFAULT 0,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'disputed', 'completed')),
    due_at         timestamptz NOT NULL,
    requested_at   timestamptz NOT NULL,
    captured_at    timestamptz NOT NULL,
    verdict        text CHECK (verdict IN ('good', 'defect', 'unusable')),
    class_name     text,
    agreed         boolean,
    decided_by     text,
    completed_at   timestamptz,
    CHECK ((state = 'completed') = (verdict IS NOT NULL AND decided_by IS NOT NULL AND completed_at IS NOT NULL))
);

CREATE INDEX reviews_queue ON reviews (state, due_at, review_id);
CREATE INDEX reviews_by_capture ON reviews (capture_id);

CREATE TABLE answers (
    review_id    uuid NOT NULL REFERENCES reviews,
    reviewer     text NOT NULL,
    verdict      text NOT NULL CHECK (verdict IN ('good', 'defect', 'unusable')),
    class_name   text,
    note         text,
    answered_at  timestamptz NOT NULL,
    adjudication boolean NOT NULL DEFAULT false,
    PRIMARY KEY (review_id, reviewer)            -- nobody answers twice
);

CREATE INDEX answers_by_reviewer ON answers (reviewer, review_id);

-- Append-only: a later label for the same capture replaces an earlier one by its sequence, never in place.
CREATE TABLE labels (
    sequence         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label_id         uuid NOT NULL UNIQUE,
    capture_id       uuid NOT NULL,
    line             text NOT NULL,
    station          text NOT NULL,
    class_name       text NOT NULL,
    is_defect        boolean NOT NULL,
    approved_by      text NOT NULL,
    source           text NOT NULL CHECK (source IN ('review', 'import')),
    taxonomy_version text,
    review_id        uuid REFERENCES reviews,
    context          jsonb NOT NULL,
    image            jsonb NOT NULL,
    approved_at      timestamptz NOT NULL
);

CREATE INDEX labels_latest ON labels (capture_id, sequence DESC);
CREATE INDEX labels_by_time ON labels (approved_at DESC, label_id DESC);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER labels_are_append_only BEFORE UPDATE OR DELETE ON labels
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER answers_are_append_only BEFORE UPDATE OR DELETE ON answers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER dispositions_are_append_only BEFORE UPDATE OR DELETE ON dispositions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
