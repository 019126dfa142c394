-- Gateways that Dash did not start: existing ones on this host. A row says only where a token is kept.
CREATE TABLE added_gateway (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret TEXT NOT NULL CHECK (secret IN ('file', 'command')),
    command TEXT,                        -- JSON, what prints the token
    capabilities TEXT NOT NULL DEFAULT '[]',
    region TEXT,
    capacity INTEGER NOT NULL CHECK (capacity >= 1),
    added_at_ms INTEGER NOT NULL,        -- another one after each change: what was known of the former is void
    draining INTEGER NOT NULL DEFAULT 0, -- it takes nothing new
    told TEXT NOT NULL DEFAULT '' CHECK (told IN ('', 'up', 'down')),   -- the last event about it
    boot_id TEXT,                        -- the program's own; another one means that it has begun again
    version TEXT,
    port INTEGER                         -- where its agents reach models, on loopback; kept over restarts
) STRICT;
ALTER TABLE launch ADD COLUMN place_boot TEXT;   -- an added gateway's boot id, for an attempt that ran in it
