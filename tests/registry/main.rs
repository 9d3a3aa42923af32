//! The registry through its public API, and through SQL from outside where a test needs a damaged one.

mod feed;
mod keys;
mod store;
mod users;

use std::path::PathBuf;

use rederive::registry::{GenerationRow, GenerationState, NewKey, NewUser, Owner, Registry, UserId};
use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields, Generation, Prefix, TagKey};
use rederive_hsm::config::KeyClass;
use rederive_hsm::secret::Secret32;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

/// A registry in a folder of its own, with one account and generation 0, issuing.
struct Place {
    folder: tempfile::TempDir,
    registry: Registry,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = Registry::create_or_open(&folder.path().join("registry.sqlite")).await.expect("opens");
        registry.create_account(account(), 1).await.expect("an account");
        registry.insert_generation(&generation(0, GenerationState::Issuing)).await.expect("a generation");
        Self { folder, registry }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("registry.sqlite")
    }

    async fn user(&self, name: &str) -> Owner {
        let row = self.registry.create_user(&new_user(name, "/")).await.expect("a user");
        Owner { account: account(), user_id: Some(row.user_id) }
    }

    /// Runs SQL past the registry, with its checks off.
    async fn vandalise(&self, sql: &str) {
        let mut connection = self.side_door().await;
        sqlx::raw_sql(&format!("PRAGMA ignore_check_constraints = 1; PRAGMA foreign_keys = 0; {sql}"))
            .execute(&mut connection)
            .await
            .expect("the SQL is right");
    }

    async fn side_door(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).connect().await.expect("opens")
    }
}

fn account() -> Account {
    Account::new(123_456_789_012).expect("twelve digits")
}

fn generation(number: u8, state: GenerationState) -> GenerationRow {
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
fn id_in(generation: u8, serial: u32) -> AccessKeyId {
    let fields = Fields::Account {
        account: account(),
        generation: Generation::new(generation).expect("7 bits"),
        needs_row: false,
        serial,
    };
    let tag_key = TagKey::new(&Secret32::take(&mut [7; 32]));
    AccessKeyId::assemble(Prefix::parse("AKIA").expect("four letters"), &fields, &tag_key)
}

fn id(serial: u32) -> AccessKeyId {
    id_in(0, serial)
}

fn new_user(name: &str, path: &str) -> NewUser {
    let user_id = UserId::random().expect("random bytes");
    NewUser { user_id, account: account(), name: name.into(), path: path.into(), tags: Vec::new(), at: 10 }
}

fn new_key(id: AccessKeyId, owner: &Owner) -> NewKey {
    NewKey { id, owner: owner.clone(), created_by: None, signature: None, quota: 2, at: 20 }
}

fn root() -> Owner {
    Owner { account: account(), user_id: None }
}
