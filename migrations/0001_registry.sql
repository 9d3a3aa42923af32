-- What the authority remembers. No column of any table holds a secret.
-- Times are unix seconds. Plain SQL: apart from BLOB (BYTEA there), PostgreSQL takes it as it stands.

-- Fixed at first start; lists of prefixes only ever grow.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE generations (
    number      BIGINT NOT NULL PRIMARY KEY CHECK (number BETWEEN 0 AND 127),
    state       TEXT   NOT NULL CHECK (state IN ('pending', 'issuing', 'verifying', 'closed')),
    check_value BLOB   NOT NULL CHECK (length(check_value) = 32),
    class       TEXT   NOT NULL CHECK (class IN ('strict', 'copyable', 'replicable', 'replica')),
    share_first BIGINT NOT NULL CHECK (share_first BETWEEN 0 AND 65535),
    share_last  BIGINT NOT NULL CHECK (share_last BETWEEN share_first AND 65535),
    created_at  BIGINT NOT NULL
);

CREATE TABLE accounts (
    number     BIGINT NOT NULL PRIMARY KEY CHECK (number BETWEEN 0 AND 999999999999),
    created_at BIGINT NOT NULL
);

-- A deleted user stays as a tombstone: its id is never given to another, its name is free again.
CREATE TABLE users (
    user_id    TEXT   NOT NULL PRIMARY KEY,
    account    BIGINT NOT NULL REFERENCES accounts (number),
    name       TEXT   NOT NULL,
    path       TEXT   NOT NULL,
    tags       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX users_by_name ON users (account, lower(name)) WHERE deleted_at IS NULL;

-- user_id is NULL for a root key of the account. Rows are never removed: a deleted key stays as a tombstone.
CREATE TABLE access_keys (
    id                TEXT   NOT NULL PRIMARY KEY,
    account           BIGINT NOT NULL REFERENCES accounts (number),
    user_id           TEXT   REFERENCES users (user_id),
    generation        BIGINT NOT NULL REFERENCES generations (number),
    status            TEXT   NOT NULL CHECK (status IN ('active', 'inactive', 'deleted')),
    created_at        BIGINT NOT NULL,
    created_by        TEXT,
    status_changed_at BIGINT NOT NULL,
    last_used_at      BIGINT,
    last_used_service TEXT,
    last_used_region  TEXT
);
CREATE INDEX access_keys_of_owner ON access_keys (account, user_id, id) WHERE status <> 'deleted';
CREATE INDEX access_keys_denied ON access_keys (id) WHERE status <> 'active';

-- Serial numbers drawn so far.
CREATE TABLE serials_used (
    account    BIGINT NOT NULL REFERENCES accounts (number),
    generation BIGINT NOT NULL REFERENCES generations (number),
    count      BIGINT NOT NULL,
    PRIMARY KEY (account, generation)
);

-- Hashes of signatures that a secret was given out for, kept until the signature is too old anyway.
CREATE TABLE used_signatures (
    hash       BLOB   NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_signatures_by_expiry ON used_signatures (expires_at);

-- What verifiers must hear of, numbered without gaps: the number comes from the counter's row, locked until commit.
CREATE TABLE changes (
    seq     BIGINT NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    kind    TEXT   NOT NULL,
    subject TEXT   NOT NULL
);
CREATE TABLE change_counter (
    one  BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    last BIGINT NOT NULL
);
INSERT INTO change_counter (one, last) VALUES (1, 0);
