-- Gateways: processes that a swarm's agents run in together, and which attempt ran in which of them.
ALTER TABLE swarm ADD COLUMN mode TEXT NOT NULL DEFAULT '';  -- of its driver: gateway; empty: the driver's usual one
ALTER TABLE launch ADD COLUMN within TEXT REFERENCES launch (id);  -- the gateway's, for an attempt that ran in one

CREATE TABLE gateway (
    launch_id TEXT PRIMARY KEY REFERENCES launch (id),
    swarm_id TEXT NOT NULL REFERENCES swarm (id),
    number INTEGER NOT NULL,             -- of the swarm's gateways; one that has ended is followed by the next
    token TEXT NOT NULL,                 -- opens nothing but this process, which nobody outside its jail can reach
    created_at_ms INTEGER NOT NULL,
    boot_id TEXT,                        -- the program's own; another one means that it has begun again
    ended_at_ms INTEGER,
    reason TEXT,                         -- why it ended
    UNIQUE (swarm_id, number)
) STRICT;
CREATE INDEX gateway_open ON gateway (swarm_id) WHERE ended_at_ms IS NULL;
