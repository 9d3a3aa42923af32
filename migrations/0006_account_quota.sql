-- Keys that a user of the account may have; nothing is the default. A program of before goes by its default.
ALTER TABLE accounts ADD COLUMN keys_per_user BIGINT CHECK (keys_per_user BETWEEN 1 AND 1000);
INSERT INTO schema_expansions (version) VALUES (6);
