-- Workspaces: where agents work on a repository, what came back of it, and what is to become of the rest.

ALTER TABLE swarm ADD COLUMN repo TEXT;  -- domain.repository's JSON; NULL: its agents work in cwd itself

CREATE TABLE workspace (
    owner TEXT PRIMARY KEY,              -- an agent, or the swarm whose agents share it
    swarm_id TEXT NOT NULL REFERENCES swarm (id),
    state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'saving', 'removing', 'removed')),
    base TEXT NOT NULL,                  -- the commit it starts from
    place TEXT NOT NULL DEFAULT '',      -- workspace.place's JSON; '' until it was there once
    path TEXT NOT NULL DEFAULT '',
    branch TEXT NOT NULL DEFAULT '',     -- in the user's repository, without refs/heads/
    imported TEXT,                       -- the commit that its branch there was last moved to
    changed TEXT NOT NULL DEFAULT '[]',  -- JSON: the files in which that differs from the base, the first ones
    changed_more INTEGER NOT NULL DEFAULT 0,
    salvage TEXT,                        -- the commit in which it was last saved
    wanted TEXT NOT NULL DEFAULT '' CHECK (wanted IN ('', 'make', 'save', 'remove', 'give-up')),
    due_ms INTEGER,                      -- when it is to be removed
    why TEXT NOT NULL DEFAULT '',        -- of what is wanted
    problem TEXT NOT NULL DEFAULT '',    -- why what was wanted last did not come about
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER
) STRICT;
CREATE INDEX workspace_swarm ON workspace (swarm_id);
CREATE INDEX workspace_wanted ON workspace (owner) WHERE wanted <> '';
CREATE INDEX workspace_due ON workspace (due_ms) WHERE due_ms IS NOT NULL;

-- The merge queue: one at a time, in order of their numbers.
CREATE TABLE merge (
    number INTEGER PRIMARY KEY,
    swarm_id TEXT NOT NULL REFERENCES swarm (id),
    owner TEXT NOT NULL,                 -- whose work it is
    target TEXT NOT NULL,                -- a branch, without refs/heads/
    commit_id TEXT NOT NULL,
    gates TEXT NOT NULL,                 -- JSON: [argv, ...]
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'merged', 'conflict', 'failed', 'cancelled')),
    cancel INTEGER NOT NULL DEFAULT 0,   -- somebody wants it to end
    before TEXT,                         -- where the target was
    result TEXT,                         -- where it was seen to be afterwards
    problem TEXT NOT NULL DEFAULT '',
    paths TEXT NOT NULL DEFAULT '[]',    -- JSON: the files of a conflict
    asked_by TEXT NOT NULL,
    queued_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER
) STRICT;
CREATE INDEX merge_open ON merge (number) WHERE state IN ('queued', 'running');
CREATE INDEX merge_swarm ON merge (swarm_id, number);

-- The last step: a branch of the user's, and the files of its checkout, are to be moved to a commit.
CREATE TABLE landing (
    number INTEGER PRIMARY KEY,
    swarm_id TEXT NOT NULL REFERENCES swarm (id),
    onto TEXT NOT NULL,                  -- a branch, without refs/heads/
    commit_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'queued', 'running', 'landed', 'refused')),
    before TEXT,
    problem TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    paths TEXT NOT NULL DEFAULT '[]',
    asked_by TEXT NOT NULL,
    asked_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER
) STRICT;
CREATE INDEX landing_open ON landing (number) WHERE state IN ('queued', 'running');
