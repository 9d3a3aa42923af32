//! The schema and its versions: the migrations in `migrations/`, forward only.
//!
//! One text for both engines, in SQLite's words; [`for_postgres`] says what PostgreSQL has another word for. Programs of two
//! versions may work on one registry, so a migration only ever adds. A program that meets a migration that it does not know
//! goes on if that migration says so, by adding its own number to `schema_expansions`.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::error::BoxDynError;
use sqlx::migrate::{MigrateError, Migration, MigrationSource, Migrator};

use super::connection::Connection;
use super::{Trouble, TroubleKind, query};

type Result<T> = std::result::Result<T, Trouble>;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// The table in which the migrations that were applied are listed.
const APPLIED: &str = "_sqlx_migrations";
/// How long a program gives others that bring the same schema up to date.
const OTHERS: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Applies the migrations that are missing. Two processes may try at once: who comes second fails on what is there already,
/// and looks again.
pub(super) async fn bring_up_to_date(connection: &mut Connection) -> Result<()> {
    let until = Instant::now() + OTHERS;
    loop {
        let before = applied_version(connection).await?;
        if before.is_some_and(|version| version > newest_version()) {
            return check_newer(connection, before).await;
        }
        match migrate(connection).await {
            Ok(()) => return Ok(()),
            Err(_) if applied_version(connection).await? > before => {}
            Err(error) if is_race(&error) && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(trouble(error)),
        }
    }
}

/// Refuses a schema that this program does not know its way in.
pub(super) async fn check(connection: &mut Connection) -> Result<()> {
    let version = applied_version(connection).await?;
    let known = newest_version();
    if version.is_none_or(|version| version < known) {
        let version = version.unwrap_or(0);
        let text = format!(
            "this registry's schema is version {version}: 'rederive serve' of this version will upgrade it to {known}"
        );
        return Err(Trouble::new(TroubleKind::Schema, text));
    }
    check_newer(connection, version).await
}

/// The number of the newest migration that was applied; `None` where there is no schema at all.
pub(super) async fn applied_version(connection: &mut Connection) -> Result<Option<i64>> {
    if !has_table(connection, APPLIED).await? {
        return Ok(None);
    }
    let newest = query("SELECT max(version) FROM _sqlx_migrations").fetch_one(connection).await?;
    Ok(newest.try_get(0)?)
}

fn newest_version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

async fn check_newer(connection: &mut Connection, version: Option<i64>) -> Result<()> {
    let known = newest_version();
    let unknown = "SELECT min(version) FROM _sqlx_migrations \
                   WHERE version > $1 AND version NOT IN (SELECT version FROM schema_expansions)";
    let unknown: Option<i64> = query(unknown).bind(known).fetch_one(connection).await?.try_get(0)?;
    if unknown.is_none() {
        return Ok(());
    }
    let text = format!(
        "the registry's schema is version {}, this rederive knows up to {known}: use the rederive that wrote it, or a \
         newer one",
        version.unwrap_or(0)
    );
    Err(Trouble::new(TroubleKind::Schema, text))
}

async fn has_table(connection: &mut Connection, name: &str) -> Result<bool> {
    let table = match connection {
        Connection::Sqlite(_) => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1",
        Connection::Postgres(_) => {
            "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = $1"
        }
    };
    Ok(query(table).bind(name).fetch_optional(connection).await?.is_some())
}

async fn migrate(connection: &mut Connection) -> std::result::Result<(), MigrateError> {
    match connection {
        Connection::Sqlite(sqlite) => MIGRATIONS.run_direct(&mut **sqlite).await,
        Connection::Postgres(held) => {
            let mut migrations = Migrator::new(Translated).await?;
            // Its locks are not known to every engine that speaks the protocol.
            migrations.set_locking(false);
            let outcome = migrations.run_direct(held.begin()).await;
            held.keep();
            outcome
        }
    }
}

/// The migrations in PostgreSQL's words.
#[derive(Debug)]
struct Translated;

impl MigrationSource<'static> for Translated {
    fn resolve(self) -> BoxFuture<'static, std::result::Result<Vec<Migration>, BoxDynError>> {
        let translated =
            MIGRATIONS.iter().cloned().map(|Migration { version, description, migration_type, sql, no_tx, .. }| {
                Migration::new(version, description, migration_type, for_postgres(&sql).into(), no_tx)
            });
        Box::pin(std::future::ready(Ok(translated.collect())))
    }
}

/// Bytes have another name there; and text is compared by its bytes whatever the database's language is.
fn for_postgres(sql: &str) -> String {
    sql.replace(" BLOB", " BYTEA").replace(" TEXT", " TEXT COLLATE \"C\"")
}

/// Whether another process did the same thing at the same time.
fn is_race(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    // unique_violation (also in the catalogue), duplicate_table, duplicate_column, duplicate_object (a table's type),
    // serialization_failure, deadlock_detected, internal_error (two changes of one row of the catalogue)
    ["23505", "42P07", "42701", "42710", "40001", "40P01", "XX000"].contains(&&*code)
}

fn trouble(error: MigrateError) -> Trouble {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        error => Trouble::new(TroubleKind::Schema, error.to_string()),
    }
}
