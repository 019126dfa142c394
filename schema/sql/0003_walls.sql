-- Walls: what a swarm's agents may reach, what each may use, and what stood around each launch.

ALTER TABLE swarm ADD COLUMN walls TEXT NOT NULL DEFAULT 'none'     -- none: asked for with --unsafe-no-jail
    CHECK (walls IN ('required', 'none'));
ALTER TABLE swarm ADD COLUMN scope TEXT NOT NULL DEFAULT '';        -- domain.scope's JSON; '' before there were any
ALTER TABLE swarm ADD COLUMN bounds TEXT NOT NULL DEFAULT '{}';     -- JSON: memory_mb, processes, disk_mb, cpu_s

ALTER TABLE launch ADD COLUMN grade TEXT CHECK (grade IN ('A', 'B', 'C', '0'));   -- NULL: not started yet
ALTER TABLE launch ADD COLUMN jail TEXT;                            -- JSON: what the jail showed, and a hash of argv
