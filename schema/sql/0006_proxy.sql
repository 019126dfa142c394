-- Programs outside: keys of their own, each with a budget; and what was said in calls, where that is kept.

-- A key's budget is a kind of its own. A CHECK cannot be altered, so the table is built again.
CREATE TABLE budget_new (
    id TEXT PRIMARY KEY,                 -- 'project', or the id of the swarm, agent, task or key it belongs to
    kind TEXT NOT NULL CHECK (kind IN ('project', 'swarm', 'agent', 'task', 'key')),
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
INSERT INTO budget_new (
    id, kind, parent_id, swarm_id, limit_nusd, limit_tokens, allotment_nusd, reserve_nusd, held_nusd, spent_nusd,
    unconfirmed_nusd, overrun_nusd, held_tokens, spent_tokens, frozen, reached, action_75, action_90, action_100,
    ended, created_at_ms, seat_rule, seat_nusd, paused_by
) SELECT
    id, kind, parent_id, swarm_id, limit_nusd, limit_tokens, allotment_nusd, reserve_nusd, held_nusd, spent_nusd,
    unconfirmed_nusd, overrun_nusd, held_tokens, spent_tokens, frozen, reached, action_75, action_90, action_100,
    ended, created_at_ms, seat_rule, seat_nusd, paused_by
FROM budget;
DROP TABLE budget;
ALTER TABLE budget_new RENAME TO budget;
CREATE INDEX budget_parent ON budget (parent_id) WHERE ended = 0;
CREATE INDEX budget_swarm ON budget (swarm_id);

-- Who may come in from outside, by which door. The secret was shown once; only its SHA-256 is here.
CREATE TABLE access_key (
    id TEXT PRIMARY KEY,                 -- also the id of a proxy key's own budget
    kind TEXT NOT NULL CHECK (kind IN ('proxy', 'operator', 'orchestrator')),
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    old_hash TEXT,                       -- before the last rotation, good until old_until_ms
    old_until_ms INTEGER,
    budget_id TEXT REFERENCES budget (id),
    model TEXT,                          -- what its calls go to, whatever they name
    requests_per_minute INTEGER,         -- NULL: as configured
    tokens_per_minute INTEGER,
    requests_per_day INTEGER,
    tokens_per_day INTEGER,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    last_used_at_ms INTEGER,             -- to the minute
    revoked_at_ms INTEGER,
    CHECK ((kind = 'proxy') = (budget_id IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX access_key_name ON access_key (name) WHERE revoked_at_ms IS NULL;
-- What a key has called lately.
CREATE INDEX hold_outside ON hold (budget_id, started_at_ms) WHERE agent_id IS NULL;

-- What was said in a call, where the operator has it kept: redacted, cut, and removed in time.
CREATE TABLE call_body (
    hold_id INTEGER PRIMARY KEY REFERENCES hold (id),
    at_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,              -- of both texts
    meta TEXT NOT NULL,                  -- JSON
    request TEXT,                        -- NULL where only the meta data is kept
    answer TEXT
) STRICT;
CREATE INDEX call_body_at ON call_body (at_ms, bytes);

-- What a swarm's costs are counted under, over all swarms that say the same: a build, a branch, a client.
ALTER TABLE swarm ADD COLUMN label TEXT;
CREATE INDEX swarm_label ON swarm (label) WHERE label IS NOT NULL;
