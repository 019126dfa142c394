-- A message may ask for something else than to be heard: that what was said so far is summed up.
ALTER TABLE message ADD COLUMN compacts INTEGER NOT NULL DEFAULT 0;  -- `text` says what the summary is to keep

-- A session that was made before there was work: a name for the conversation of the task that begins in it.
CREATE TABLE session_made (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    driver TEXT NOT NULL,
    cwd TEXT NOT NULL,
    task_id TEXT REFERENCES task (id),         -- NULL: nobody has begun it
    session_id TEXT REFERENCES session (id),   -- its latest conversation
    at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX session_made_task ON session_made (task_id);
CREATE INDEX session_made_session ON session_made (session_id);

-- The task is to sum up what it begins from, and nothing else.
ALTER TABLE session_seed ADD COLUMN compacts INTEGER NOT NULL DEFAULT 0;
