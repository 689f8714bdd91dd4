-- The rules of the taxonomy that shaped a decision; null where the class and the policy decided alone.
ALTER TABLE rulings ADD COLUMN severity_rule jsonb, ADD COLUMN disposition_rule jsonb;
