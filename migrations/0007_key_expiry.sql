-- When a key stops being good; nothing is never. Such a key has R set in its id. An issuer switches it off at that time; a program of
-- before may switch it on again, for a second, until one that knows does so anew.
ALTER TABLE access_keys ADD COLUMN expires_at BIGINT;
CREATE INDEX access_keys_by_expiry ON access_keys (expires_at) WHERE expires_at IS NOT NULL;
INSERT INTO schema_expansions (version) VALUES (7);
