-- Budgets: what a change was of besides dollars, what the next call needs, and why somebody was ended.

ALTER TABLE budget_change ADD COLUMN from_tokens INTEGER;
ALTER TABLE budget_change ADD COLUMN to_tokens INTEGER;
ALTER TABLE budget_change ADD COLUMN actions TEXT NOT NULL DEFAULT '';   -- as `at_100 pause -> kill`

-- The least that the call must hold which the node has refused last; NULL: none was, or one has fit since.
ALTER TABLE budget ADD COLUMN need_nusd INTEGER;
ALTER TABLE budget ADD COLUMN need_tokens INTEGER;

-- Why it was asked to end, where there is more to say than that it was.
ALTER TABLE agent ADD COLUMN cause TEXT;
ALTER TABLE attempt ADD COLUMN stop_cause TEXT;
