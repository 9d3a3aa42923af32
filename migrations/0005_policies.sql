-- What users may do: inline policies, and managed ones by their ARN. Root may do everything and is in neither table.
CREATE TABLE user_policies (
    user_id  TEXT NOT NULL REFERENCES users (user_id),
    name     TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (user_id, name)
);
CREATE TABLE attached_policies (
    user_id     TEXT   NOT NULL REFERENCES users (user_id),
    arn         TEXT   NOT NULL,
    attached_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, arn)
);

-- Until now every user could look at itself and manage its own keys. Those that there are keep that.
INSERT INTO attached_policies (user_id, arn, attached_at)
    SELECT user_id, 'arn:aws:iam::aws:policy/IAMSelfManageAccessKeys', created_at FROM users WHERE deleted_at IS NULL;

-- A program of before looks at neither table: beside it, users go on managing their own keys there.
INSERT INTO schema_expansions (version) VALUES (5);
