-- How captures deviate from their capture standard without being rejected for it, and what nothing proves of it.
ALTER TABLE dispositions
    ADD COLUMN deviating text[] NOT NULL DEFAULT '{}',
    ADD COLUMN unproven  text[] NOT NULL DEFAULT '{}';

CREATE INDEX dispositions_off_standard ON dispositions (capture_id)
    WHERE revision = 1 AND (deviating <> '{}' OR unproven <> '{}');
