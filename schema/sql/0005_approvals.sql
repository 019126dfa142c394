-- Gates say what needs somebody's yes; approvals are what waits for it, and what became of it.

CREATE TABLE gate (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('command', 'path', 'tool', 'money', 'landing', 'depth')),
    pattern TEXT NOT NULL DEFAULT '',    -- of command, path, tool or landing's target; '' is any
    above INTEGER NOT NULL DEFAULT 0,    -- money: nano-dollars; depth: levels
    verdict TEXT NOT NULL CHECK (verdict IN ('ask', 'allow', 'deny')),
    who TEXT NOT NULL CHECK (who IN ('operator', 'orchestrator')),   -- orchestrator: delegated to its key
    two_person INTEGER NOT NULL DEFAULT 0,
    deadline_s REAL NOT NULL,
    at_deadline TEXT NOT NULL CHECK (at_deadline IN ('allow', 'deny')),
    set_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE approval (
    number INTEGER PRIMARY KEY,
    gate TEXT NOT NULL,                  -- its name then; its terms are copied, and outlive it
    kind TEXT NOT NULL,
    what TEXT NOT NULL,
    swarm_id TEXT,
    agent_id TEXT,
    asked_by TEXT NOT NULL,
    context TEXT NOT NULL,               -- JSON
    ref TEXT NOT NULL DEFAULT '',        -- who asks again under it gets the same answer
    act TEXT NOT NULL DEFAULT '',        -- what follows from the decision, beside waking who waits
    args TEXT NOT NULL DEFAULT '{}',
    state TEXT NOT NULL CHECK (state IN ('open', 'allowed', 'denied', 'withdrawn')),
    who TEXT NOT NULL,
    two_person INTEGER NOT NULL,
    at_deadline TEXT NOT NULL,
    deadline_at_ms INTEGER NOT NULL,
    decided_by TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    asked_at_ms INTEGER NOT NULL,
    decided_at_ms INTEGER
) STRICT;
CREATE INDEX approval_due ON approval (deadline_at_ms) WHERE state = 'open';
CREATE INDEX approval_of_swarm ON approval (swarm_id) WHERE state = 'open';
CREATE INDEX approval_of_agent ON approval (agent_id) WHERE state = 'open';
CREATE INDEX approval_ref ON approval (ref) WHERE ref <> '';

-- Who has said yes; an approval given twice by one is one.
CREATE TABLE approval_vote (
    number INTEGER NOT NULL REFERENCES approval (number),
    who TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (number, who)
) STRICT, WITHOUT ROWID;
