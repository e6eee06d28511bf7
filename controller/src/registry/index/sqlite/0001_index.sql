-- The registry's index, first form. Times are milliseconds since 1970 UTC; digests are `algorithm:hex`.

CREATE TABLE repository (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Which repository may see which blob. The blob itself is a file.
CREATE TABLE repository_blob (
    repository INTEGER NOT NULL REFERENCES repository (id),
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    linked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repository_blob_by_digest ON repository_blob (digest);

CREATE TABLE manifest (
    repository INTEGER NOT NULL REFERENCES repository (id),
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    artifact_type TEXT,
    subject TEXT,
    annotations TEXT NOT NULL,
    pushed_at INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_by_digest ON manifest (digest);
CREATE INDEX manifest_by_subject ON manifest (repository, subject, digest) WHERE subject IS NOT NULL;

-- What a manifest names; collection and pins follow it.
CREATE TABLE reference (
    repository INTEGER NOT NULL REFERENCES repository (id),
    parent TEXT NOT NULL,
    child TEXT NOT NULL,
    PRIMARY KEY (repository, parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX reference_by_child ON reference (child);

CREATE TABLE tag (
    repository INTEGER NOT NULL REFERENCES repository (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    moved_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_digest ON tag (repository, digest);

CREATE TABLE upload (
    id TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_by_start ON upload (started_at);

CREATE TABLE pin (
    digest TEXT NOT NULL,
    owner TEXT NOT NULL,
    until INTEGER,
    PRIMARY KEY (digest, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX pin_by_owner ON pin (owner);
