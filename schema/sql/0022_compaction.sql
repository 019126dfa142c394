-- What the summary is not to leave out, of a task that is to sum up what it begins from.
ALTER TABLE session_seed ADD COLUMN keep TEXT NOT NULL DEFAULT '';
