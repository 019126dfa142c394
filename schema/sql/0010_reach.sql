-- What a key that speaks may give to agents: an orchestrator's swarms reach no further than its key.
ALTER TABLE access_key ADD COLUMN within TEXT;  -- JSON: folders, below which all that it gives lies; NULL: any
ALTER TABLE access_key ADD COLUMN unsafe_no_jail INTEGER NOT NULL DEFAULT 0;  -- it may start agents without walls
