-- What was learnt of kinds of BMCs by watching them, and which kind each machine was last seen to be.
CREATE TABLE capabilities (
    vendor   TEXT NOT NULL,                        -- the three as they are compared: lower case
    model    TEXT NOT NULL,
    firmware TEXT NOT NULL,
    doc      TEXT NOT NULL,                        -- model::Capability as JSON
    PRIMARY KEY (vendor, model, firmware)
) STRICT, WITHOUT ROWID;

CREATE TABLE machine_families (
    machine_id TEXT PRIMARY KEY REFERENCES machines (id) ON DELETE CASCADE,
    doc        TEXT NOT NULL                       -- model::Family as JSON
) STRICT, WITHOUT ROWID;
