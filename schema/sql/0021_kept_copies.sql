-- What kept copies of conversations take, and what becomes of them.

-- Its file is gone. The row stays where another conversation began with it, to say so; it has no name any more.
ALTER TABLE checkpoint ADD COLUMN removed_at_ms INTEGER;
CREATE INDEX checkpoint_bytes ON checkpoint (bytes) WHERE removed_at_ms IS NULL;   -- their sum reads nothing else

CREATE INDEX checkpoint_age ON checkpoint (kind, at_ms) WHERE removed_at_ms IS NULL;   -- the oldest go first

-- Who needs a copy: each removal asks.
CREATE INDEX session_seed_checkpoint ON session_seed (checkpoint_id);
CREATE INDEX session_begun_from ON session (begun_from);
CREATE INDEX session_head ON session (head);

-- What its new agent was told too late for the answer: that its files are others than was said.
ALTER TABLE session_move ADD COLUMN note TEXT NOT NULL DEFAULT '';
