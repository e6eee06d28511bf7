-- The read-only switch: on while it has its one row.
CREATE TABLE read_only (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    reason TEXT NOT NULL,
    since INTEGER NOT NULL,
    switched_by TEXT NOT NULL
) STRICT;
