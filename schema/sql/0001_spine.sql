-- The spine: what a swarm is made of, what happened, and which answers were given.
-- Ids are text and speakable; instants are integer milliseconds; levels are 0 critical .. 3 low.

CREATE TABLE daemon (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch INTEGER NOT NULL,              -- raised at each start; a holder refuses a lower one
    started_at_ms INTEGER NOT NULL
) STRICT;
INSERT INTO daemon VALUES (1, 0, 0);

CREATE TABLE swarm (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('creating', 'active', 'paused', 'completed', 'failed', 'destroyed')),
    wanted TEXT NOT NULL DEFAULT 'run' CHECK (wanted IN ('run', 'destroy')),
    outcome TEXT CHECK (outcome IN ('complete', 'partial', 'none')),
    goal TEXT NOT NULL,                  -- the task as it was asked
    strategy TEXT NOT NULL,
    driver TEXT NOT NULL,
    why_driver TEXT NOT NULL,
    argv TEXT NOT NULL,                  -- JSON array, the driver's command template
    cwd TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    timeout_s REAL NOT NULL,             -- of one attempt, paused time not counted
    retries INTEGER NOT NULL,
    lease_s REAL NOT NULL,
    grace_s REAL NOT NULL,
    agents_max INTEGER NOT NULL,         -- seats that may work at once
    next_agent INTEGER NOT NULL DEFAULT 1,
    next_task INTEGER NOT NULL DEFAULT 1,
    created_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER,
    output TEXT NOT NULL DEFAULT 'kept'  -- what its agents printed; going: its folders are to be removed
        CHECK (output IN ('kept', 'going', 'gone'))
) STRICT;
CREATE INDEX swarm_open ON swarm (state) WHERE state IN ('creating', 'active', 'paused');
CREATE INDEX swarm_kept ON swarm (ended_at_ms) WHERE output = 'kept' AND ended_at_ms IS NOT NULL;
CREATE INDEX swarm_going ON swarm (id) WHERE output = 'going';

CREATE TABLE agent (
    id TEXT PRIMARY KEY,
    swarm_id TEXT NOT NULL REFERENCES swarm (id),
    parent_id TEXT REFERENCES agent (id),
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('idle', 'spawning', 'running', 'paused', 'completed', 'failed', 'killed')),
    liveness TEXT NOT NULL CHECK (liveness IN ('alive', 'dead', 'unknown')),
    wanted TEXT NOT NULL DEFAULT 'run' CHECK (wanted IN ('run', 'pause', 'kill')),
    task_id TEXT REFERENCES task (id),   -- what it runs now, or ran last
    created_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER,
    UNIQUE (swarm_id, number)
) STRICT;
CREATE INDEX agent_idle ON agent (swarm_id, number) WHERE state = 'idle';
CREATE INDEX agent_open ON agent (swarm_id, number)
    WHERE state IN ('idle', 'spawning', 'running', 'paused');

CREATE TABLE task (
    id TEXT PRIMARY KEY,
    swarm_id TEXT NOT NULL REFERENCES swarm (id),
    number INTEGER NOT NULL,             -- age: oldest first inside a level
    state TEXT NOT NULL
        CHECK (state IN ('waiting', 'ready', 'running', 'retrying', 'completed', 'dead', 'cancelled')),
    item TEXT NOT NULL,
    text TEXT,                           -- NULL where it is the swarm's goal
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    level INTEGER NOT NULL CHECK (level BETWEEN 0 AND 3),   -- priority, or the highest that waits on it
    pinned_to TEXT REFERENCES agent (id),   -- only this seat may take it
    agent_id TEXT REFERENCES agent (id),    -- who runs it, or ran it last
    attempts INTEGER NOT NULL DEFAULT 0,    -- those that count against `retries`
    lost INTEGER NOT NULL DEFAULT 0,        -- those that were lost, since it was last made ready by hand
    unmet INTEGER NOT NULL DEFAULT 0,       -- prerequisites that have not completed
    retry_at_ms INTEGER,
    cause TEXT,                          -- why it failed, was cancelled or is dead
    result TEXT,
    result_cut INTEGER NOT NULL DEFAULT 0,   -- the result is only the end of what was returned
    progress_done INTEGER,
    progress_total INTEGER,
    note TEXT,
    created_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER,
    ended_at_ms INTEGER,
    UNIQUE (swarm_id, number)
) STRICT;
CREATE INDEX task_state ON task (swarm_id, state);
CREATE INDEX task_ready ON task (swarm_id, level, number) WHERE state = 'ready';
CREATE INDEX task_retrying ON task (retry_at_ms) WHERE state = 'retrying';
CREATE INDEX task_pinned ON task (pinned_to) WHERE pinned_to IS NOT NULL;
CREATE INDEX task_open ON task (swarm_id) WHERE state NOT IN ('completed', 'dead', 'cancelled');

CREATE TABLE task_edge (
    before_id TEXT NOT NULL REFERENCES task (id),
    after_id TEXT NOT NULL REFERENCES task (id),
    PRIMARY KEY (after_id, before_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_edge_before ON task_edge (before_id);

-- A launch is one process under one holder: of an attempt now, of a seat or a swarm in later drivers.
CREATE TABLE launch (
    id TEXT PRIMARY KEY,                 -- names its folder
    owner TEXT NOT NULL,                 -- the id of what it was launched for
    ended INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0,  -- its folder is gone
    pid INTEGER,
    start_time INTEGER,
    boot_id TEXT,
    spool_offset INTEGER NOT NULL DEFAULT 0,   -- committed with the events read up to it
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE attempt (
    id TEXT PRIMARY KEY,
    task_id TEXT NOT NULL REFERENCES task (id),
    agent_id TEXT NOT NULL REFERENCES agent (id),
    launch_id TEXT NOT NULL REFERENCES launch (id),
    number INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('claimed', 'starting', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    stop TEXT CHECK (stop IN ('cancel', 'requeue', 'timeout', 'kill')),   -- asked for, first one wins
    reason TEXT,
    exit_code INTEGER,
    exit_signal INTEGER,
    late INTEGER NOT NULL DEFAULT 0,
    active_ms INTEGER NOT NULL DEFAULT 0,     -- run time up to `active_since_ms`, pauses left out
    active_since_ms INTEGER,                  -- on the steady clock of this boot (clock.steady_ms)
    cpu_ms INTEGER,
    rss_max_kib INTEGER,
    output_dropped INTEGER NOT NULL DEFAULT 0,   -- bytes that were printed and not kept
    created_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER,
    ended_at_ms INTEGER,
    UNIQUE (task_id, number)
) STRICT;
CREATE INDEX attempt_open ON attempt (agent_id) WHERE state IN ('claimed', 'starting', 'running');
CREATE INDEX attempt_agent ON attempt (agent_id);

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    swarm TEXT,
    agent TEXT,
    body TEXT NOT NULL                   -- the event as it goes over the wire, encoded once
) STRICT;
CREATE INDEX event_swarm ON event (swarm, seq) WHERE swarm IS NOT NULL;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    method TEXT NOT NULL,
    params_hash TEXT NOT NULL,
    answer TEXT NOT NULL,                -- the result as JSON
    at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_age ON idempotency (at_ms);
