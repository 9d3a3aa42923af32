-- Sessions that an operator denied by when they were issued: of 'key:ID', 'user:ID' or 'account:NUMBER'. A program of before stops
-- deciding when the feed tells it of the first one.
CREATE TABLE session_denials (
    subject       TEXT   NOT NULL PRIMARY KEY,
    issued_before BIGINT NOT NULL,
    at            BIGINT NOT NULL
);
INSERT INTO schema_expansions (version) VALUES (10);
