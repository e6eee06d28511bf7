-- The first shape of the store. Forward only: later files add to it, nothing here is edited once released.
-- Times in integer columns are microseconds since 1970 UTC; times in documents are RFC 3339 text.

CREATE TABLE machines (
    id          TEXT PRIMARY KEY,
    serial_key  TEXT NOT NULL UNIQUE,             -- trimmed, lower case
    version     INTEGER NOT NULL,
    doc         TEXT NOT NULL,                    -- model::Machine as JSON, lifecycle included
    password    BLOB NOT NULL                     -- sealed, context machine/<id>/password
) STRICT;

CREATE TABLE jobs (
    id            TEXT PRIMARY KEY,               -- UUID v7: ordered by time
    machine_id    TEXT NOT NULL,
    status        TEXT NOT NULL,
    version       INTEGER NOT NULL,
    released_at   INTEGER,
    retry_of      TEXT UNIQUE,
    doc           TEXT NOT NULL,                  -- model::Job as JSON
    live          TEXT,                           -- model::Live as JSON, flushed now and then
    inputs        BLOB,                           -- sealed model::Inputs, context job/<id>/inputs; erased some time after release
    lease_owner   TEXT,
    lease_fence   INTEGER NOT NULL DEFAULT 0,
    lease_expires INTEGER NOT NULL DEFAULT 0
) STRICT;
-- One job at a time per machine. The rule lives here so that no race can break it.
CREATE UNIQUE INDEX one_active_job_per_machine ON jobs (machine_id) WHERE released_at IS NULL;
CREATE INDEX jobs_by_status ON jobs (status, id);
CREATE INDEX jobs_by_machine ON jobs (machine_id, id);

CREATE TABLE idempotency (
    key         TEXT PRIMARY KEY,
    body_sha256 TEXT NOT NULL,
    job_id      TEXT NOT NULL,
    at          INTEGER NOT NULL
) STRICT;

-- Reports that were taken in, so that a repeat changes nothing.
CREATE TABLE reports (
    job_id      TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    PRIMARY KEY (job_id, delivery_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id     TEXT,
    machine_id TEXT,
    at         TEXT NOT NULL,
    source     TEXT NOT NULL,
    step       TEXT,
    code       TEXT NOT NULL,
    text       TEXT NOT NULL,
    data       TEXT
) STRICT;
CREATE INDEX events_by_job ON events (job_id, seq);
CREATE INDEX events_by_machine ON events (machine_id, seq);

CREATE TABLE host_logs (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id  TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    name    TEXT NOT NULL,
    at      TEXT NOT NULL,
    text    TEXT NOT NULL
) STRICT;
CREATE INDEX host_logs_by_job ON host_logs (job_id, seq);

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    sha256     BLOB NOT NULL UNIQUE,
    revoked_at TEXT,
    doc        TEXT NOT NULL                      -- model::ApiToken as JSON
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    doc TEXT NOT NULL                             -- model::AuditEntry as JSON
) STRICT;
CREATE TRIGGER audit_is_append_only_u BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_append_only_d BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE callbacks (
    id      TEXT PRIMARY KEY,
    doc     TEXT NOT NULL,                        -- model::Callback as JSON
    secrets BLOB NOT NULL                         -- sealed JSON list, context callback/<id>/secrets
) STRICT;

CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id  TEXT NOT NULL UNIQUE,
    callback_id TEXT,
    url         TEXT NOT NULL,
    job_id      TEXT,
    kind        TEXT NOT NULL,
    body        TEXT NOT NULL,
    state       TEXT NOT NULL,                    -- pending, delivered, dead
    attempts    INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    last_error  TEXT
) STRICT;
CREATE INDEX outbox_pending ON outbox (next_at) WHERE state = 'pending';
CREATE INDEX outbox_order ON outbox (job_id, url, seq) WHERE state = 'pending';
CREATE INDEX outbox_by_callback ON outbox (callback_id, seq);
