-- Sessions that go on elsewhere for good, and whose files an agent begins with.

-- A session that was migrated. What runs in it is told to stop in the same transaction; its copy is made with
-- the end of that, and until then nobody takes the task.
CREATE TABLE session_move (
    session_id TEXT PRIMARY KEY REFERENCES session (id),
    task_id TEXT NOT NULL REFERENCES task (id),   -- which goes on with it
    copied INTEGER NOT NULL,                      -- 0: what runs in it has not ended
    at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX session_move_task ON session_move (task_id);
CREATE INDEX session_move_open ON session_move (task_id) WHERE copied = 0;

-- The conversation was stopped at its work: its last tool call may have done all it should, or a part of it.
ALTER TABLE session_seed ADD COLUMN broken_off INTEGER NOT NULL DEFAULT 0;

-- An agent whose clone begins with the work of another one, where that has come back as a branch.
CREATE TABLE workspace_start (
    owner TEXT PRIMARY KEY,        -- of the workspace that begins
    from_owner TEXT NOT NULL REFERENCES workspace (owner)
) STRICT, WITHOUT ROWID;
