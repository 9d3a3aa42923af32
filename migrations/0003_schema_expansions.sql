-- A migration that programs of the version before may work beside adds its own number here. Others keep them out.
CREATE TABLE schema_expansions (
    version BIGINT NOT NULL PRIMARY KEY
);
