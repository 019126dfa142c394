-- Money: who may spend how much, what is held for calls under way, and what was charged.
-- Dollars are integer nano-dollars (1e-9 USD) throughout; a NULL limit is no limit of its own.

CREATE TABLE budget (
    id TEXT PRIMARY KEY,                 -- 'project', or the id of the swarm, agent or task it belongs to
    kind TEXT NOT NULL CHECK (kind IN ('project', 'swarm', 'agent', 'task')),
    parent_id TEXT REFERENCES budget (id),
    swarm_id TEXT,
    limit_nusd INTEGER CHECK (limit_nusd >= 0),
    limit_tokens INTEGER CHECK (limit_tokens >= 0),
    allotment_nusd INTEGER,              -- shown and warned about, not a cap
    reserve_nusd INTEGER NOT NULL DEFAULT 0,   -- kept back for scaling; calls may not use it
    held_nusd INTEGER NOT NULL DEFAULT 0 CHECK (held_nusd >= 0),
    spent_nusd INTEGER NOT NULL DEFAULT 0 CHECK (spent_nusd >= 0),
    unconfirmed_nusd INTEGER NOT NULL DEFAULT 0,   -- the part of spent that no usage confirmed
    overrun_nusd INTEGER NOT NULL DEFAULT 0,
    held_tokens INTEGER NOT NULL DEFAULT 0 CHECK (held_tokens >= 0),
    spent_tokens INTEGER NOT NULL DEFAULT 0 CHECK (spent_tokens >= 0),
    frozen TEXT,                         -- why nothing may be held: overrun, quota
    reached INTEGER NOT NULL DEFAULT 0,  -- highest threshold already told: 0, 75, 90, 100
    action_75 TEXT NOT NULL DEFAULT 'notify' CHECK (action_75 IN ('notify', 'pause', 'kill', 'none')),
    action_90 TEXT NOT NULL DEFAULT 'notify' CHECK (action_90 IN ('notify', 'pause', 'kill', 'none')),
    action_100 TEXT NOT NULL DEFAULT 'pause' CHECK (action_100 IN ('notify', 'pause', 'kill', 'none')),
    ended INTEGER NOT NULL DEFAULT 0,    -- its agent has ended: it no longer counts as live
    created_at_ms INTEGER NOT NULL,
    seat_rule TEXT CHECK (seat_rule IN ('allotment', 'cap', 'even')),   -- of a swarm: what a seat gets
    seat_nusd INTEGER,                   -- how much that is
    paused_by TEXT                       -- of a swarm or agent: the budget that has paused it
) STRICT;
CREATE INDEX budget_parent ON budget (parent_id) WHERE ended = 0;
CREATE INDEX budget_swarm ON budget (swarm_id);

-- Every node with itself and each node above it; a hold is taken on all of them or on none.
CREATE TABLE budget_above (
    id TEXT NOT NULL REFERENCES budget (id),
    above_id TEXT NOT NULL REFERENCES budget (id),
    PRIMARY KEY (id, above_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_below ON budget_above (above_id);

-- One try of one model call.
CREATE TABLE hold (
    id INTEGER PRIMARY KEY,
    budget_id TEXT NOT NULL REFERENCES budget (id),
    swarm_id TEXT,
    agent_id TEXT,
    task_id TEXT,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'settled')),
    held_nusd INTEGER NOT NULL CHECK (held_nusd >= 0),
    held_tokens INTEGER NOT NULL CHECK (held_tokens >= 0),
    cost_nusd INTEGER,
    tokens INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    basis TEXT CHECK (basis IN ('usage', 'partial', 'worst-case', 'rejected', 'unsent', 'crash', 'adjusted')),
    confirmed INTEGER,                   -- 1 where the provider's own usage says so
    price_date TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    settled_at_ms INTEGER
) STRICT;
CREATE INDEX hold_open ON hold (id) WHERE state = 'open';
CREATE INDEX hold_swarm ON hold (swarm_id, started_at_ms);

CREATE TABLE budget_change (
    id INTEGER PRIMARY KEY,
    budget_id TEXT NOT NULL REFERENCES budget (id),
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('created', 'set', 'extended', 'threshold', 'overrun', 'frozen', 'thawed')),
    from_nusd INTEGER,
    to_nusd INTEGER,
    why TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX budget_change_of ON budget_change (budget_id, id);

-- What an agent, or a program outside, shows at the proxy; only the hash is kept.
CREATE TABLE proxy_key (
    hash TEXT PRIMARY KEY,
    budget_id TEXT NOT NULL REFERENCES budget (id),
    agent_id TEXT,
    name TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT;
CREATE INDEX proxy_key_agent ON proxy_key (agent_id) WHERE revoked_at_ms IS NULL;

-- Who serves models. No secret is in any row: it is in a file of its own, or a command prints it.
CREATE TABLE provider (
    name TEXT PRIMARY KEY,
    format TEXT NOT NULL CHECK (format IN ('openai-chat', 'openai-responses', 'anthropic')),
    url TEXT NOT NULL,
    secret TEXT NOT NULL CHECK (secret IN ('file', 'command', 'none')),
    command TEXT,                        -- JSON argv where a command prints the secret
    models TEXT NOT NULL DEFAULT '[]',   -- JSON; none named means all that the price list knows of it
    created_at_ms INTEGER NOT NULL,
    CHECK ((secret = 'command') = (command IS NOT NULL))
) STRICT;

-- What the operator says of a model; NULL and [] leave it to the price list.
CREATE TABLE model (
    name TEXT PRIMARY KEY,
    provider TEXT,                       -- the only one that serves it; NULL: whoever can
    input_nusd INTEGER CHECK (input_nusd >= 0),     -- a token
    output_nusd INTEGER CHECK (output_nusd >= 0),
    context_tokens INTEGER,
    output_tokens_max INTEGER,
    aliases TEXT NOT NULL DEFAULT '[]',  -- JSON
    capabilities TEXT NOT NULL DEFAULT '[]',
    set_at_ms INTEGER NOT NULL,
    CHECK ((input_nusd IS NULL) = (output_nusd IS NULL))
) STRICT;

-- What one agent calls instead of what its swarm does.
ALTER TABLE agent ADD COLUMN model TEXT;

-- What the agents of a swarm call: a name, an alias or a chain; NULL is the default.
ALTER TABLE swarm ADD COLUMN model TEXT;

INSERT INTO budget (id, kind, created_at_ms) VALUES ('project', 'project', 0);
INSERT INTO budget_above VALUES ('project', 'project');
