-- The list of changes becomes the deny feed: the hash of an entry covers the entry and all before it.
-- `detail` holds what the subject alone does not tell, as far as verifiers have to know it.
-- Entries that a node of schema 1 appends bear no hash until the next writer that knows hashes fills it in.
ALTER TABLE changes ADD COLUMN detail TEXT NOT NULL DEFAULT '';
ALTER TABLE changes ADD COLUMN hash BLOB;

-- The epoch is drawn when the feed begins; number and hash are those of the newest entry that has a hash.
CREATE TABLE feed_head (
    one    BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    epoch  BLOB   NOT NULL CHECK (length(epoch) = 16),
    number BIGINT NOT NULL,
    hash   BLOB   NOT NULL CHECK (length(hash) = 32)
);

-- What an operator denied, whatever its own status: 'key:ID', 'user:ID', 'account:NUMBER'.
CREATE TABLE denials (
    subject TEXT   NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL
);
