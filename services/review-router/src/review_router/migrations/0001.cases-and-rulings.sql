-- A case: what is known and decided about one capture. The primary key and `version` are the last line of defence
-- against two instances that hold the same partition for a moment.
CREATE TABLE cases (
    capture_id uuid PRIMARY KEY,
    version integer NOT NULL,
    line text NOT NULL,
    station text NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting-audit', 'waiting-model', 'decided')),
    revision integer NOT NULL,
    kind text,
    incomplete boolean NOT NULL,
    review text NOT NULL CHECK (review IN ('none', 'open', 'overdue', 'completed')),
    due_at timestamptz,
    facts jsonb NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
COMMENT ON COLUMN cases.due_at IS 'Next deadline: of the model before the first decision, of the review after it';
COMMENT ON COLUMN cases.facts IS 'subject, audit, model and verdict; all that a decision rests on';
CREATE INDEX cases_due ON cases (due_at) WHERE due_at IS NOT NULL;

-- The exact rules a decision was taken by, named by their hash, so that it can be taken again.
CREATE TABLE rules (
    digest text PRIMARY KEY,
    rules jsonb NOT NULL,
    first_used_at timestamptz NOT NULL DEFAULT now()
);

-- Decisions. One capture has one revision 1, whatever happens, and each correction has the next number.
CREATE TABLE rulings (
    disposition_id uuid PRIMARY KEY,
    capture_id uuid NOT NULL REFERENCES cases,
    revision integer NOT NULL CHECK (revision >= 1),
    kind text NOT NULL,
    reasons text[] NOT NULL,
    severity text,
    class_name text,
    basis text NOT NULL,
    decided_by text NOT NULL,
    saw_audit boolean NOT NULL,
    saw_model boolean NOT NULL,
    rules_digest text NOT NULL REFERENCES rules,
    decided_at timestamptz NOT NULL,
    UNIQUE (capture_id, revision)
);

-- News that changed nothing, and why: a late result that policy ignores, a repeated review.
CREATE TABLE remarks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    capture_id uuid NOT NULL,
    event_id text NOT NULL,
    remark text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX remarks_capture ON remarks (capture_id);
