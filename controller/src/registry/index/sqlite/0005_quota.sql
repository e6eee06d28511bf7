-- What each repository shows, in bytes, kept by the transaction that changes it: quotas add up these and nothing else.
ALTER TABLE repository ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE repository SET bytes =
    (SELECT coalesce(sum(link.size), 0) FROM repository_blob AS link WHERE link.repository = repository.id)
    + (SELECT coalesce(sum(one.size), 0) FROM manifest AS one WHERE one.repository = repository.id);

-- A row that is replaced (the same content pushed again) keeps its size.
CREATE TRIGGER repository_blob_added AFTER INSERT ON repository_blob BEGIN
    UPDATE repository SET bytes = bytes + new.size WHERE id = new.repository;
END;
CREATE TRIGGER repository_blob_removed AFTER DELETE ON repository_blob BEGIN
    UPDATE repository SET bytes = bytes - old.size WHERE id = old.repository;
END;
CREATE TRIGGER manifest_added AFTER INSERT ON manifest BEGIN
    UPDATE repository SET bytes = bytes + new.size WHERE id = new.repository;
END;
CREATE TRIGGER manifest_removed AFTER DELETE ON manifest BEGIN
    UPDATE repository SET bytes = bytes - old.size WHERE id = old.repository;
END;
