-- Which calls are run again when nobody knows whether they ran.
ALTER TABLE project ADD COLUMN retry_policy TEXT NOT NULL DEFAULT 'never';
