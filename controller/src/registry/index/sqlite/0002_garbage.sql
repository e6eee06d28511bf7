-- Content on disk that no repository has: since when that is so. It is collected when its grace has passed.
CREATE TABLE unheld (
    digest TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_age ON tag (repository, moved_at DESC, name);
CREATE INDEX manifest_by_age ON manifest (repository, pushed_at);
