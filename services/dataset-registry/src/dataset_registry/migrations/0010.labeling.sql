-- The labeling room: images, what people say about them, and the work of saying it.

-- What is labeled: a capture, once it enters a batch, or a picture that was imported.
CREATE TABLE images (
    image_id        uuid PRIMARY KEY,          -- of a capture, its capture_id
    origin          text NOT NULL CHECK (origin IN ('capture', 'import')),
    name            text NOT NULL,
    object          jsonb NOT NULL,            -- claim check
    width           integer NOT NULL,
    height          integer NOT NULL,
    context         jsonb NOT NULL,
    part_id         text,
    mm_per_pixel    double precision,
    captured_at     timestamptz NOT NULL,
    perceptual_hash bigint,                    -- the 64 bits of it, as a signed number
    synthetic       boolean NOT NULL DEFAULT false,
    segment         text,
    added_at        timestamptz NOT NULL,
    added_by        text NOT NULL
);

CREATE INDEX images_by_time ON images (added_at DESC, image_id DESC);
CREATE INDEX images_by_station
    ON images ((context->>'line'), (context->>'station'), added_at DESC, image_id DESC);
CREATE INDEX images_unseen ON images (added_at, image_id) WHERE perceptual_hash IS NULL;
CREATE INDEX images_by_part ON images (part_id, captured_at DESC) WHERE part_id IS NOT NULL;

CREATE TABLE batches (
    batch_id         uuid PRIMARY KEY,
    name             text NOT NULL UNIQUE,
    mode             text NOT NULL CHECK (mode IN ('single', 'consensus', 'gold')),
    answers_wanted   integer NOT NULL CHECK (answers_wanted BETWEEN 1 AND 20),
    people           text[] NOT NULL,          -- empty is everyone
    review           jsonb NOT NULL,
    taxonomy_version text,
    purpose          text NOT NULL,
    lots             integer NOT NULL DEFAULT 0,
    created_by       text NOT NULL,
    created_at       timestamptz NOT NULL,
    closed_at        timestamptz
);

CREATE INDEX batches_by_time ON batches (created_at DESC, batch_id DESC);
CREATE INDEX batches_open ON batches (batch_id) WHERE closed_at IS NULL;

-- Images that were added together are one lot: what a sampling plan accepts or rejects.
CREATE TABLE lots (
    batch_id      uuid NOT NULL REFERENCES batches,
    lot           integer NOT NULL,
    size          integer NOT NULL,
    sample_size   integer NOT NULL,
    accept        integer NOT NULL,            -- so many faults in the sample are let through
    reviewed      integer NOT NULL DEFAULT 0,
    nonconforming integer NOT NULL DEFAULT 0,
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'rejected')),
    PRIMARY KEY (batch_id, lot)
);

CREATE TABLE tasks (
    task_id         uuid PRIMARY KEY,          -- UUIDv5 of batch and image
    batch_id        uuid NOT NULL REFERENCES batches,
    image_id        uuid NOT NULL REFERENCES images,
    state           text NOT NULL DEFAULT 'to-label'
                    CHECK (state IN ('to-label', 'waiting', 'to-review', 'sent-back', 'disputed', 'done')),
    wanted          integer NOT NULL,
    answered        integer NOT NULL DEFAULT 0,
    version         integer NOT NULL DEFAULT 1,
    lot             integer NOT NULL,
    sampled         boolean NOT NULL DEFAULT false,  -- belongs to the sample of its lot
    gold            uuid,                      -- the approved annotation that answers are held against
    author          text,                      -- of the annotation that stands
    standing        uuid,                      -- the annotation under review
    send_backs      integer NOT NULL DEFAULT 0,
    note            text,                      -- of the last send-back
    priority        double precision NOT NULL,
    priority_reason text NOT NULL,
    added_at        timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (batch_id, image_id)
);

CREATE INDEX tasks_queue ON tasks (batch_id, state, priority DESC, added_at, task_id);
CREATE INDEX tasks_by_image ON tasks (image_id);
CREATE INDEX tasks_by_lot ON tasks (batch_id, lot) WHERE state = 'waiting';

-- Who works on what, until when. An expired claim counts for nothing.
CREATE TABLE claims (
    task_id    uuid NOT NULL REFERENCES tasks,
    person     text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (task_id, person)
);

CREATE INDEX claims_by_person ON claims (person);

-- What somebody has begun to say; it outlives the claim.
CREATE TABLE drafts (
    task_id    uuid NOT NULL REFERENCES tasks,
    person     text NOT NULL,
    annotation jsonb NOT NULL,
    version    integer NOT NULL,
    saved_at   timestamptz NOT NULL,
    PRIMARY KEY (task_id, person)
);

-- Append-only: a revision is a row of its own that names the one it supersedes.
CREATE TABLE annotations (
    annotation_id    uuid PRIMARY KEY,
    image_id         uuid NOT NULL REFERENCES images,
    task_id          uuid REFERENCES tasks,
    sequence         bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    author           text NOT NULL,
    origin           text NOT NULL CHECK (origin IN ('person', 'model', 'import')),
    verdict          text NOT NULL CHECK (verdict IN ('labeled', 'ambiguous', 'unusable')),
    classes          text[] NOT NULL,
    shapes           jsonb NOT NULL,
    ambiguity        jsonb,
    taxonomy_version text,
    made_at          timestamptz NOT NULL,
    supersedes       uuid
);

CREATE INDEX annotations_by_image ON annotations (image_id, sequence DESC);
CREATE INDEX annotations_ambiguous ON annotations (made_at DESC, annotation_id DESC) WHERE verdict = 'ambiguous';
CREATE INDEX annotations_proposed ON annotations (image_id, sequence DESC) WHERE origin = 'model';
CREATE INDEX annotations_by_task ON annotations (task_id, author) WHERE task_id IS NOT NULL;

CREATE TABLE annotation_decisions (
    sequence      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    annotation_id uuid NOT NULL REFERENCES annotations,
    image_id      uuid NOT NULL,
    decision      text NOT NULL CHECK (decision IN ('approved', 'sent-back', 'superseded')),
    by            text NOT NULL,
    note          text,
    decided_at    timestamptz NOT NULL
);

CREATE INDEX annotation_decisions_by_annotation ON annotation_decisions (annotation_id, sequence);
CREATE INDEX annotation_decisions_in_force ON annotation_decisions (image_id, sequence DESC)
    WHERE decision = 'approved';

-- How each answer on a known image compares with what is known; who answers never sees it in the work.
CREATE TABLE gold_answers (
    task_id       uuid NOT NULL REFERENCES tasks,
    person        text NOT NULL,
    annotation_id uuid NOT NULL REFERENCES annotations,
    agrees        boolean NOT NULL,
    score         double precision NOT NULL,   -- 0 to 1
    answered_at   timestamptz NOT NULL,
    PRIMARY KEY (task_id, person)
);

CREATE TRIGGER annotations_are_append_only BEFORE UPDATE OR DELETE ON annotations
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER annotation_decisions_are_append_only BEFORE UPDATE OR DELETE ON annotation_decisions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- The label of an image: its last approved annotation, whatever its verdict.
CREATE VIEW labels_in_force AS
    SELECT DISTINCT ON (d.image_id)
           d.image_id, d.annotation_id, d.sequence, d.by AS approved_by, d.decided_at AS approved_at,
           a.task_id, a.author, a.origin, a.verdict, a.classes, a.shapes, a.ambiguity, a.taxonomy_version, a.made_at
    FROM annotation_decisions d JOIN annotations a USING (annotation_id)
    WHERE d.decision = 'approved' AND a.origin <> 'model'   -- a proposal is nobody's word, whoever approves it
    ORDER BY d.image_id, d.sequence DESC;

ALTER TABLE labels DROP CONSTRAINT labels_source_check;
ALTER TABLE labels ADD CONSTRAINT labels_source_check CHECK (source IN ('review', 'import', 'annotation'));
