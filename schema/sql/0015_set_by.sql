-- Who set a budget's limit by hand: no orchestrator adds to such a one without a yes.
ALTER TABLE budget ADD COLUMN set_by TEXT;   -- such as operator:uid-1000; NULL: it is as it was made, or as Dash set it

UPDATE budget SET set_by = 'operator' WHERE id IN (
    SELECT budget_id FROM budget_change
    WHERE kind = 'set' AND (from_nusd IS NOT to_nusd OR from_tokens IS NOT to_tokens)
    AND why NOT LIKE 'it replaces %'         -- a seat's limit that Dash has handed on
);
