-- Which images are in a holdout, and where the tiles of large images lie.

-- Of every version: what goes out for learning leaves these out. Who learns may read none of it.
CREATE TABLE holdout_images (
    image_id uuid NOT NULL,
    hash     text NOT NULL REFERENCES dataset_holdouts,
    PRIMARY KEY (image_id, hash)
);

CREATE INDEX holdout_images_by_version ON holdout_images (hash);

CREATE TRIGGER holdout_images_are_append_only BEFORE UPDATE OR DELETE ON holdout_images
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE INDEX images_large ON images (added_at)
    WHERE width::bigint * height > 12000000 OR greatest(width, height) > 8192;

-- A pyramid is made once for the bytes of an image, whatever images and captures have them.
CREATE TABLE pyramids (
    sha256  text PRIMARY KEY,                  -- of the image
    tiles   jsonb,                             -- claim check of the list of tiles; null where the image has none
    made_at timestamptz NOT NULL
);
