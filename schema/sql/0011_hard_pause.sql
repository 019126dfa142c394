-- A pause that stops the whole process tree, also of a program whose pause is otherwise soft.
ALTER TABLE agent ADD COLUMN hard INTEGER NOT NULL DEFAULT 0;  -- while `wanted` is pause
