-- How long a key of the account may be good from its making, and how long before its end that is told, in seconds; nothing is for ever, and
-- the default. Issuers switch keys off at that time; a program of before may switch one on again, for a second, until one that knows
-- does so anew.
ALTER TABLE accounts ADD COLUMN max_key_age BIGINT CHECK (max_key_age > 0);
ALTER TABLE accounts ADD COLUMN key_warning BIGINT CHECK (key_warning >= 0);
CREATE INDEX access_keys_by_age ON access_keys (account, created_at) WHERE status = 'active';
INSERT INTO schema_expansions (version) VALUES (9);
