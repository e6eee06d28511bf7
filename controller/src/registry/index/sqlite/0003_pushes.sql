-- Pushes that made or moved a tag, in order, until whoever follows them has dealt with them. `id` is one per push:
-- one that sets several tags has a row for each. Bounded: see pushes.rs.
CREATE TABLE push (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    pushed_by TEXT NOT NULL,
    pushed_at INTEGER NOT NULL
) STRICT;
