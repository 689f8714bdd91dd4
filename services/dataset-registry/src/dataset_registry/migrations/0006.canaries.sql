-- A canary decides a share of the captures beside the release that decides the rest.

ALTER TABLE deployments ADD COLUMN share double precision NOT NULL DEFAULT 1 CHECK (share > 0 AND share <= 1);
ALTER TABLE deployments DROP CONSTRAINT deployments_mode_check;
ALTER TABLE deployments ADD CONSTRAINT deployments_mode_check CHECK (mode IN ('active', 'canary', 'shadow'));
