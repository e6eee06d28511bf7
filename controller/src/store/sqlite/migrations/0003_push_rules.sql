-- What pushes to the registry may start, and what came of each.
CREATE TABLE push_rules (
    id     TEXT PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    doc    TEXT NOT NULL,                          -- model::PushRule as JSON
    sealed BLOB NOT NULL                           -- sealed recipe and callback secret, context push_rule/<id>/sealed
) STRICT;

CREATE TABLE push_runs (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id TEXT NOT NULL,
    push_id TEXT NOT NULL,
    ended   INTEGER NOT NULL,                      -- 0 while it is under way
    doc     TEXT NOT NULL,                         -- model::PushRun as JSON
    UNIQUE (rule_id, push_id)                      -- a push that is looked at again changes nothing
) STRICT;
CREATE INDEX push_runs_by_rule ON push_runs (rule_id, seq);

-- A rule's own callback_url, signed with the rule's secret.
ALTER TABLE outbox ADD COLUMN rule_id TEXT;
