-- What an agent may reach, where that is less than its swarm's agents: it is another agent's child.
ALTER TABLE agent ADD COLUMN scope TEXT NOT NULL DEFAULT '';  -- JSON; empty: its swarm's
CREATE INDEX agent_child ON agent (parent_id) WHERE parent_id IS NOT NULL;
