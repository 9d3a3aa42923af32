-- What a client token of CreateAccessKey was answered with, for a day. The hash of caller and token finds it; neither the token
-- nor what the key was made from can be had from it.
CREATE TABLE client_tokens (
    hash       BLOB   NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    request    BLOB   NOT NULL CHECK (length(request) = 32),
    id         TEXT   NOT NULL REFERENCES access_keys (id),
    attempt    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX client_tokens_by_expiry ON client_tokens (expires_at);
INSERT INTO schema_expansions (version) VALUES (4);
