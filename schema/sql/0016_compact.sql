-- A message may ask for something else than to be heard: that what was said so far is summed up.
ALTER TABLE message ADD COLUMN compacts INTEGER NOT NULL DEFAULT 0;  -- `text` says what the summary is to keep
