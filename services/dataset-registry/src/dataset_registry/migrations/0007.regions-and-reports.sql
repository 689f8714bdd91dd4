-- What the model points at, beside the heat map; and what a release says of itself.

ALTER TABLE reviews ADD COLUMN regions jsonb NOT NULL DEFAULT '[]';

ALTER TABLE releases ADD COLUMN card jsonb;                           -- claim check of the description
ALTER TABLE releases ADD COLUMN reports jsonb NOT NULL DEFAULT '{}';  -- claim checks of pages, by name
