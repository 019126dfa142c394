-- Conversations that agents' programs write down, and the copies that are kept of them.

-- A session is one conversation: that of attempts which went on in one another. Whether it is open is what its
-- attempts say, and is not written here a second time.
CREATE TABLE session (
    id TEXT PRIMARY KEY REFERENCES launch (id),   -- in whose folder it is written
    swarm_id TEXT NOT NULL REFERENCES swarm (id),
    agent_id TEXT NOT NULL REFERENCES agent (id),   -- who has it now
    task_id TEXT NOT NULL REFERENCES task (id),
    attempt_id TEXT NOT NULL REFERENCES attempt (id),   -- the latest that went on in it
    driver TEXT NOT NULL,
    begun_from TEXT REFERENCES checkpoint (id),   -- NULL: with its task alone
    head TEXT REFERENCES checkpoint (id),         -- where it goes on; NULL: where it has come to
    opened_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX session_agent ON session (agent_id);

-- A copy of a conversation up to one step. Its file was there before its row.
CREATE TABLE checkpoint (
    id TEXT PRIMARY KEY,                 -- names its file
    session_id TEXT NOT NULL REFERENCES session (id),
    kind TEXT NOT NULL CHECK (kind IN ('named', 'automatic', 'fork', 'archive')),
    name TEXT NOT NULL DEFAULT '',
    step TEXT NOT NULL,                  -- the last one in it
    steps INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX checkpoint_session ON checkpoint (session_id);
CREATE UNIQUE INDEX checkpoint_name ON checkpoint (session_id, name) WHERE name <> '';

-- A task that does not begin with an empty conversation.
CREATE TABLE session_seed (
    task_id TEXT PRIMARY KEY REFERENCES task (id),
    checkpoint_id TEXT NOT NULL REFERENCES checkpoint (id)
) STRICT, WITHOUT ROWID;
