-- A pause that stops the whole process tree, also of a program whose pause is otherwise soft.
ALTER TABLE agent ADD COLUMN hard INTEGER NOT NULL DEFAULT 0;  -- while `wanted` is pause
-- When a program hears a message: between two steps, after what it is at, or now, which breaks that off.
ALTER TABLE message ADD COLUMN heard TEXT NOT NULL DEFAULT 'step' CHECK (heard IN ('step', 'after', 'now'));
