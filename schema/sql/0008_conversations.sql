-- Programs that are talked to while they run.

-- Everything that was put on a program's standard input, in order. It is written down before it is sent, so
-- that after a crash the same number is the same input, and the holder drops what it has. The rows go when
-- the attempt ends.
CREATE TABLE input (
    launch_id TEXT NOT NULL REFERENCES launch (id),
    number INTEGER NOT NULL,
    key TEXT NOT NULL,                   -- what it is for, once a launch
    data BLOB NOT NULL,
    eof INTEGER NOT NULL DEFAULT 0,      -- nothing comes after it
    told TEXT,                           -- JSON: the word from outside that led to it; NULL: the output did
    PRIMARY KEY (launch_id, number),
    UNIQUE (launch_id, key)
) STRICT, WITHOUT ROWID;

-- What somebody said to an agent while it ran.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    attempt_id TEXT NOT NULL REFERENCES attempt (id),
    number INTEGER NOT NULL,             -- counted from 1 within the attempt
    text TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    UNIQUE (attempt_id, number)
) STRICT;
