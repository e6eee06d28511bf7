-- When something of a repository was pulled last, in milliseconds since 1970; null for never.
ALTER TABLE repository ADD COLUMN pulled_at INTEGER;
