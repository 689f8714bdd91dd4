-- Dataset versions that are divided, their holdout, and what a model was tried on before it may decide.

-- How a dataset version is divided and what it holds; a version of labels alone has its coverage here and no more.
CREATE TABLE dataset_divisions (
    hash     text PRIMARY KEY REFERENCES dataset_snapshots,
    format   text NOT NULL,
    plan     jsonb,                            -- null where it is not divided
    parts    jsonb NOT NULL,                   -- images by part
    segments jsonb NOT NULL,
    warnings jsonb NOT NULL,
    leakage  jsonb,
    coverage jsonb NOT NULL                    -- images by axis (variant, camera, ...) and value, of what is learned from
);

-- Apart from the versions, as another role may read those: the claim check is the key to the holdout.
CREATE TABLE dataset_holdouts (
    hash     text PRIMARY KEY REFERENCES dataset_snapshots,
    manifest jsonb NOT NULL,
    items    integer NOT NULL,
    classes  jsonb NOT NULL
);

-- Each time that somebody was given a holdout: every reading makes it worth a little less.
CREATE TABLE holdout_readings (
    hash    text NOT NULL REFERENCES dataset_holdouts,
    number  integer NOT NULL,                  -- 1, 2, 3, ... of this holdout
    by      text NOT NULL,
    release text NOT NULL,
    purpose text NOT NULL,
    read_at timestamptz NOT NULL,
    PRIMARY KEY (hash, number)
);

CREATE INDEX holdout_readings_by_time ON holdout_readings (hash, read_at DESC, number DESC);

-- Perceptual hashes of labelled images that came with none; null for what is gone or no image.
CREATE TABLE image_hashes (
    image_id        uuid PRIMARY KEY,
    perceptual_hash bigint
);

-- What people say an image is there for; the last word counts.
CREATE TABLE segment_marks (
    sequence  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_id  uuid NOT NULL,
    segment   text,                            -- null takes an earlier mark back
    kind      text,
    note      text,
    marked_by text NOT NULL,
    marked_at timestamptz NOT NULL
);

CREATE INDEX segment_marks_last ON segment_marks (image_id, sequence DESC);

-- Images of something new, on which a release is tried before it may decide there.
CREATE TABLE evaluation_batches (
    batch_id       uuid PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    axis           text NOT NULL CHECK (axis IN ('product_variant', 'camera', 'supplier', 'material', 'lighting')),
    value          text NOT NULL,
    line           text,                       -- null is any
    station        text,
    least_images   integer NOT NULL CHECK (least_images > 0),
    least_of_class jsonb NOT NULL,
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL
);

CREATE INDEX evaluation_batches_by_time ON evaluation_batches (created_at DESC, batch_id DESC);
CREATE INDEX evaluation_batches_by_value ON evaluation_batches (axis, value);

CREATE TABLE evaluation_images (
    batch_id uuid NOT NULL REFERENCES evaluation_batches,
    image_id uuid NOT NULL,
    added_by text NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (batch_id, image_id)
);

CREATE TABLE evaluation_decisions (
    sequence   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id   uuid NOT NULL REFERENCES evaluation_batches,
    release    text NOT NULL,
    decision   text NOT NULL CHECK (decision IN ('accepted', 'rejected')),
    note       text NOT NULL,
    decided_by text NOT NULL,
    decided_at timestamptz NOT NULL
);

CREATE INDEX evaluation_decisions_last ON evaluation_decisions (batch_id, release, sequence DESC);
CREATE INDEX evaluation_decisions_by_release ON evaluation_decisions (release, batch_id);

CREATE TRIGGER dataset_divisions_are_append_only BEFORE UPDATE OR DELETE ON dataset_divisions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER dataset_holdouts_are_append_only BEFORE UPDATE OR DELETE ON dataset_holdouts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER holdout_readings_are_append_only BEFORE UPDATE OR DELETE ON holdout_readings
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER segment_marks_are_append_only BEFORE UPDATE OR DELETE ON segment_marks
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER evaluation_decisions_are_append_only BEFORE UPDATE OR DELETE ON evaluation_decisions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Training may look up versions and classes, and nothing that a holdout could be read from: labels, annotations and
-- images are not among it. Whoever provisions the database makes the role; where this role may, it does so itself.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'registry_training')
        AND (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
        CREATE ROLE registry_training NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- another database of this server was quicker
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'registry_training') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO registry_training', current_schema());
        GRANT SELECT ON dataset_snapshots, taxonomies TO registry_training;
    END IF;
END
$$;
