//! Registries for tests, and what to put into them.

use rederive::registry::{
    GenerationRow, GenerationState, Location, NewKey, NewUser, Owner, Registry, RegistryError, TroubleKind, UserId,
};
use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields, Generation, Prefix, TagKey};
use rederive_hsm::config::KeyClass;
use rederive_hsm::secret::Secret32;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor};

use crate::server;

/// A registry of its own, with one account and generation 0, issuing.
pub struct Place {
    pub location: Location,
    pub registry: Registry,
    url: String,
    folder: Option<tempfile::TempDir>,
}

/// A connection past the registry.
pub enum SideDoor {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Without the checks that would keep a row from being malformed.
const NO_CHECKS: &str = "\
    SET session_replication_role = replica; \
    DO $$ DECLARE it record; BEGIN \
        FOR it IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint \
            WHERE contype IN ('c', 'f') AND connamespace = current_schema()::regnamespace \
        LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', it.owner, it.conname); END LOOP; \
    END $$;";

impl Place {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("registry.sqlite").display());
        Self { folder: Some(folder), ..Self::at(url).await }
    }

    pub async fn postgres() -> Self {
        Self::at(server::database()).await
    }

    async fn at(url: String) -> Self {
        let location: Location = url.parse().expect("a URL");
        let registry = Registry::create_or_open(&location).await.expect("opens");
        registry.create_account(account(), 1).await.expect("an account");
        registry.insert_generation(&generation(0, GenerationState::Issuing)).await.expect("a generation");
        Self { location, registry, url, folder: None }
    }

    pub fn is_sqlite(&self) -> bool {
        self.folder.is_some()
    }

    /// Where a file of SQLite's is.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().expect("a file").path()
    }

    pub async fn user(&self, name: &str) -> Owner {
        let row = self.registry.create_user(&new_user(name, "/")).await.expect("a user");
        Owner { account: account(), user_id: Some(row.user_id) }
    }

    /// Runs SQL past the registry, with its checks off.
    pub async fn vandalise(&self, sql: &str) {
        let mut door = self.side_door().await;
        door.run(match door {
            SideDoor::Sqlite(_) => "PRAGMA ignore_check_constraints = 1; PRAGMA foreign_keys = 0",
            SideDoor::Postgres(_) => NO_CHECKS,
        })
        .await;
        door.run(sql).await;
    }

    pub async fn side_door(&self) -> SideDoor {
        match &self.location {
            Location::File(path) => {
                SideDoor::Sqlite(SqliteConnectOptions::new().filename(path).connect().await.expect("opens"))
            }
            Location::Postgres(_) => {
                SideDoor::Postgres(self.url.parse::<PgConnectOptions>().expect("a URL").connect().await.expect("opens"))
            }
        }
    }

    /// Makes inserts into a table fail.
    pub async fn block(&self, table: &str) {
        let mut door = self.side_door().await;
        let block = match door {
            SideDoor::Sqlite(_) => {
                format!("CREATE TRIGGER block BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'blocked'); END")
            }
            SideDoor::Postgres(_) => format!(
                "CREATE FUNCTION block() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'blocked'; END $$; \
                 CREATE TRIGGER block BEFORE INSERT ON {table} EXECUTE FUNCTION block()"
            ),
        };
        door.run(&block).await;
    }

    pub async fn unblock(&self, table: &str) {
        let mut door = self.side_door().await;
        let unblock = match door {
            SideDoor::Sqlite(_) => "DROP TRIGGER block".to_owned(),
            SideDoor::Postgres(_) => format!("DROP TRIGGER block ON {table}"),
        };
        door.run(&unblock).await;
    }

    /// Makes every commit fail that registers a key.
    pub async fn fail_commits(&self) {
        let mut door = self.side_door().await;
        door.run("CREATE TABLE debts (number BIGINT REFERENCES generations (number) DEFERRABLE INITIALLY DEFERRED)")
            .await;
        door.run(match door {
            SideDoor::Sqlite(_) => {
                "CREATE TRIGGER owe AFTER INSERT ON access_keys BEGIN INSERT INTO debts VALUES (99); END"
            }
            SideDoor::Postgres(_) => {
                "CREATE FUNCTION owe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO debts VALUES (99); RETURN NEW; END $$; \
                 CREATE TRIGGER owe AFTER INSERT ON access_keys FOR EACH ROW EXECUTE FUNCTION owe()"
            }
        })
        .await;
    }

    pub async fn let_commits_be(&self) {
        let mut door = self.side_door().await;
        door.run(match door {
            SideDoor::Sqlite(_) => "DROP TRIGGER owe",
            SideDoor::Postgres(_) => "DROP TRIGGER owe ON access_keys",
        })
        .await;
    }

    /// Makes the insert of one key fail.
    pub async fn refuse_insert(&self, id: &AccessKeyId) {
        let mut door = self.side_door().await;
        let refuse = match door {
            SideDoor::Sqlite(_) => format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON access_keys WHEN NEW.id = '{id}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ),
            SideDoor::Postgres(_) => format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$; \
                 CREATE TRIGGER refuse BEFORE INSERT ON access_keys FOR EACH ROW WHEN (NEW.id = '{id}') EXECUTE FUNCTION refuse()"
            ),
        };
        door.run(&refuse).await;
    }

    /// Takes the write lock, until the door is dropped.
    pub async fn lock(&self) -> SideDoor {
        let mut door = self.side_door().await;
        door.run(match door {
            SideDoor::Sqlite(_) => "BEGIN IMMEDIATE",
            SideDoor::Postgres(_) => "BEGIN; SELECT last FROM change_counter FOR UPDATE",
        })
        .await;
        door
    }
}

impl SideDoor {
    pub async fn run(&mut self, sql: &str) {
        match self {
            Self::Sqlite(connection) => drop(connection.execute(sql).await.expect("the SQL is right")),
            Self::Postgres(connection) => drop(connection.execute(sql).await.expect("the SQL is right")),
        }
    }

    pub async fn count(&mut self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(&count).fetch_one(connection).await.expect("counts"),
            Self::Postgres(connection) => sqlx::query_scalar(&count).fetch_one(connection).await.expect("counts"),
        }
    }
}

/// The trouble that a call met.
pub fn trouble<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> (TroubleKind, String) {
    match result {
        Err(RegistryError::Trouble(trouble)) => (trouble.kind, trouble.to_string()),
        other => panic!("no trouble: {other:?}"),
    }
}

pub fn account() -> Account {
    Account::new(123_456_789_012).expect("twelve digits")
}

pub fn generation(number: u8, state: GenerationState) -> GenerationRow {
    GenerationRow {
        number: Generation::new(number).expect("7 bits"),
        state,
        check_value: [number; 32],
        class: KeyClass::Strict,
        shares: 0..=u16::MAX,
        created_at: 1,
    }
}

/// The id with that serial in generation 0, or another one.
pub fn id_in(generation: u8, serial: u32) -> AccessKeyId {
    let fields = Fields::Account {
        account: account(),
        generation: Generation::new(generation).expect("7 bits"),
        needs_row: false,
        serial,
    };
    let tag_key = TagKey::new(&Secret32::take(&mut [7; 32]));
    AccessKeyId::assemble(Prefix::parse("AKIA").expect("four letters"), &fields, &tag_key)
}

pub fn id(serial: u32) -> AccessKeyId {
    id_in(0, serial)
}

pub fn new_user(name: &str, path: &str) -> NewUser {
    let user_id = UserId::random().expect("random bytes");
    NewUser { user_id, account: account(), name: name.into(), path: path.into(), tags: Vec::new(), at: 10 }
}

pub fn new_key(id: AccessKeyId, owner: &Owner) -> NewKey {
    NewKey {
        id,
        owner: owner.clone(),
        created_by: None,
        signature: None,
        quota: 2,
        terms: Default::default(),
        description: None,
        at: 20,
    }
}

pub fn root() -> Owner {
    Owner { account: account(), user_id: None }
}
