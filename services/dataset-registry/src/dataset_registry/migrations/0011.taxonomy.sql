-- Taxonomies are drafted, compared and published with what becomes of old labels; capture standards are locked.

CREATE TABLE taxonomy_drafts (
    draft_id          uuid PRIMARY KEY,
    title             text NOT NULL,
    document          jsonb NOT NULL,          -- may be half done
    based_on          text,                    -- the version that was in force; null before the first
    version           integer NOT NULL DEFAULT 1,
    authors           text[] NOT NULL,
    state             text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'published', 'discarded')),
    published_version text,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
);

CREATE INDEX taxonomy_drafts_by_time ON taxonomy_drafts (created_at DESC, draft_id DESC);
CREATE INDEX taxonomy_drafts_by_state ON taxonomy_drafts (state, created_at DESC, draft_id DESC);

-- What a draft changed when it was published, and what was decided about the labels of the classes it affected.
CREATE TABLE taxonomy_publications (
    version   text PRIMARY KEY REFERENCES taxonomies (version),
    previous  text,
    draft_id  uuid NOT NULL REFERENCES taxonomy_drafts,
    affected  jsonb NOT NULL,
    decisions jsonb NOT NULL,
    batch_id  uuid,                            -- of the relabel work; null when there is none
    images    integer NOT NULL,
    note      text NOT NULL
);

-- Who vouches that a version of a station's capture standard changes no more.
CREATE TABLE standard_locks (
    line                     text NOT NULL,
    station                  text NOT NULL,
    capture_standard_version text NOT NULL,
    note                     text NOT NULL,
    locked_by                text NOT NULL,
    locked_at                timestamptz NOT NULL,
    PRIMARY KEY (line, station, capture_standard_version)
);

CREATE INDEX station_versions_by_time ON station_versions (line, station, published_at DESC, sequence DESC);
CREATE INDEX station_versions_by_standard
    ON station_versions (line, station, (document->>'capture_standard_version'), sequence DESC);

-- The few captures that deviate from their standard are found without reading all others.
CREATE INDEX dispositions_of_deviations ON dispositions (capture_id)
    WHERE revision = 1 AND evidence->>'audit_verdict' IN ('rejected', 'ambiguous');
CREATE INDEX captures_with_gaps ON captures (line, station, received_at) WHERE missing <> '{}';

CREATE TRIGGER taxonomies_are_append_only BEFORE UPDATE OR DELETE ON taxonomies
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER taxonomy_publications_are_append_only BEFORE UPDATE OR DELETE ON taxonomy_publications
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER station_versions_are_append_only BEFORE UPDATE OR DELETE ON station_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER standard_locks_are_append_only BEFORE UPDATE OR DELETE ON standard_locks
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
