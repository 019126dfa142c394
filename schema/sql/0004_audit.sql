-- Who did what: append-only, and each row seals the one before it.
-- hash = SHA-256 of prev, seq, at_ms, actor, action, subject and data, joined by newlines; none of them has one.

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,                 -- operator:uid-1000, orchestrator:NAME, dashd
    action TEXT NOT NULL,                -- the method, or the kind of the event
    subject TEXT NOT NULL,               -- what it was done to
    data TEXT NOT NULL,                  -- JSON, names in order; never a secret
    prev TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
CREATE INDEX audit_action ON audit (action, seq);

-- Where the chain ends: rows cut off its tail are missed, unless somebody rewrites this too. So it is also
-- shown by daemon.status, ends every export, and can be noted anywhere.
CREATE TABLE audit_head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL
) STRICT;
INSERT INTO audit_head VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

CREATE TRIGGER audit_grows_at_its_end BEFORE INSERT ON audit
WHEN NEW.seq <> (SELECT seq + 1 FROM audit_head) OR NEW.prev <> (SELECT hash FROM audit_head)
BEGIN SELECT RAISE(ABORT, 'audit grows at its end only'); END;

CREATE TRIGGER audit_moves_its_head AFTER INSERT ON audit
BEGIN UPDATE audit_head SET seq = NEW.seq, hash = NEW.hash; END;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_head_goes_forward BEFORE UPDATE ON audit_head
WHEN NEW.seq <> OLD.seq + 1
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_head_is_one BEFORE INSERT ON audit_head
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_head_stays BEFORE DELETE ON audit_head
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
