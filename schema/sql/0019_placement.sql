-- Placing: some swarms work on places that were added, and a claim says on which of them.
ALTER TABLE swarm ADD COLUMN placement TEXT NOT NULL DEFAULT '';  -- JSON, what a place must have; empty: it needs none
ALTER TABLE launch ADD COLUMN place TEXT;                         -- its name, chosen and durable with the claim
CREATE INDEX launch_placed ON launch (place) WHERE place IS NOT NULL AND ended = 0;
