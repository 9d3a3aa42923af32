-- What a key is good for: lists with commas between the names; nothing is no bound. Such a key has R set in its id.
-- A program of before would take no notice, so it is kept out.
ALTER TABLE access_keys ADD COLUMN services TEXT;
ALTER TABLE access_keys ADD COLUMN regions TEXT;

-- Verifiers without a registry decide about such keys by what the deny feed tells of them. Keys with an end that there are from before
-- are told now; the entries get their hashes from the next who writes.
UPDATE change_counter SET last = last + (SELECT count(*) FROM access_keys WHERE expires_at IS NOT NULL AND status <> 'deleted');
INSERT INTO changes (seq, at, kind, subject, detail)
    SELECT (SELECT last FROM change_counter)
            - (SELECT count(*) FROM access_keys WHERE expires_at IS NOT NULL AND status <> 'deleted')
            + row_number() OVER (ORDER BY id),
        created_at, 'key-terms', id, 'expires-at=' || expires_at
    FROM access_keys WHERE expires_at IS NOT NULL AND status <> 'deleted';
