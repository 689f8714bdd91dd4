-- A scope whose only release was withdrawn follows what decides around it, also after later promotions there.
ALTER TABLE deployments ADD COLUMN follows boolean NOT NULL DEFAULT false;
