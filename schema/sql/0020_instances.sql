-- Places where Pis run: this machine's own seats, and other installations of Pi on it.
CREATE TABLE instance (
    name TEXT PRIMARY KEY,
    source TEXT NOT NULL CHECK (source IN ('auto-spawn', 'static')),
    program TEXT,                        -- of a static one, by absolute path; NULL: the one that Dash finds
    capabilities TEXT NOT NULL DEFAULT '[]',
    region TEXT,
    capacity INTEGER NOT NULL CHECK (capacity >= 1),
    added_at_ms INTEGER NOT NULL,        -- another one after each change: what was known of the former is void
    draining INTEGER NOT NULL DEFAULT 0, -- it takes nothing new
    told TEXT NOT NULL DEFAULT '' CHECK (told IN ('', 'up', 'down')),   -- the last event about it
    stamp TEXT NOT NULL DEFAULT '',      -- of the files that said its version
    version TEXT
) STRICT;
