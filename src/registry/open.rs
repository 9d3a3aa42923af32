//! Opening the registry: the file, its connections, its schema.

use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{LastTrial, Registry, RegistryError, Result, Trouble, TroubleKind};

static MIGRATOR: Migrator = sqlx::migrate!();

/// How long a call waits for another process that holds the write lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long a call waits in line for a connection.
const LINE_WAIT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

impl Registry {
    /// Opens the registry in a file, which is made (mode 0600) if there is none.
    pub async fn create_or_open(path: &Path) -> Result<Self> {
        create_file(path).map_err(|trouble| at(path, trouble))?;
        Self::open(path).await
    }

    /// Opens the registry in an existing file and brings its schema up to date.
    ///
    /// A schema newer than this program is refused.
    pub async fn open(path: &Path) -> Result<Self> {
        open_pools(path).await.map_err(|trouble| RegistryError::Trouble(at(path, trouble)))
    }

    /// Waits for running calls and closes the file. Later calls fail.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes an empty file that only its owner may read. An existing one is never opened here: closing it again would
/// release the locks that SQLite holds on it elsewhere in this process (POSIX locks belong to the process).
fn create_file(path: &Path) -> std::result::Result<(), Trouble> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_file() => {
            Ok(std::fs::set_permissions(path, Permissions::from_mode(0o600))?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn open_pools(path: &Path) -> std::result::Result<Registry, Trouble> {
    std::fs::metadata(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(LOCK_WAIT)
        .disable_statement_logging();
    let writing = options.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let writer = pool(1).connect_with(writing).await?;
    bring_up_to_date(&mut *writer.acquire().await?).await?;
    let readers = pool(READERS).connect_with(options.read_only(true)).await?;
    Ok(Registry { writer, readers, last_trial: LastTrial::default(), actor: None })
}

/// Connections are kept for good: they cost a thread each and hold prepared statements.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(LINE_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Applies the migrations that are missing. Two processes may try at once: who comes second fails on a table that is
/// there already, and looks again.
async fn bring_up_to_date(connection: &mut SqliteConnection) -> std::result::Result<(), Trouble> {
    loop {
        let before = applied_version(connection).await?;
        if before > newest_version() {
            return Err(from_the_future(before));
        }
        match MIGRATOR.run_direct(connection).await {
            Ok(()) => return Ok(()),
            Err(_) if applied_version(connection).await? > before => {}
            Err(error) => return Err(migration_trouble(error)),
        }
    }
}

/// The number of the newest migration in the file, 0 in an empty one.
async fn applied_version(connection: &mut SqliteConnection) -> std::result::Result<i64, Trouble> {
    connection.ensure_migrations_table().await.map_err(migration_trouble)?;
    let applied = connection.list_applied_migrations().await.map_err(migration_trouble)?;
    Ok(applied.iter().map(|migration| migration.version).max().unwrap_or(0))
}

fn newest_version() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn from_the_future(version: i64) -> Trouble {
    let known = newest_version();
    let text = format!(
        "the registry's schema is version {version}, this rederive knows up to {known}: \
         use the rederive that wrote it, or a newer one"
    );
    Trouble::new(TroubleKind::Schema, text)
}

fn migration_trouble(error: MigrateError) -> Trouble {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        error => Trouble::new(TroubleKind::Schema, error.to_string()),
    }
}

fn at(path: &Path, trouble: Trouble) -> Trouble {
    Trouble::new(trouble.kind, format!("{}: {}", path.display(), trouble.text()))
}
