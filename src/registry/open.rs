//! Opening the registry: the file, its connections, its schema.

use std::cmp::Ordering;
use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row};

use super::{LastTrial, Registry, RegistryError, Result, Transaction, Trouble, TroubleKind, changes};

static MIGRATOR: Migrator = sqlx::migrate!();

/// The table in which the migrations that were applied are listed.
const APPLIED: &str = "_sqlx_migrations";
/// How long a call waits for another process that holds the write lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Between two tries to open a locked file.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
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
        open_when_free(path).await.map_err(|trouble| RegistryError::Trouble(at(path, trouble)))
    }

    /// Opens the registry in an existing file to read it. Nothing in the file changes; writing calls fail.
    ///
    /// A schema older or newer than this program's is refused.
    pub async fn open_to_read(path: &Path) -> Result<Self> {
        let (registry, version) = open_readers(path).await.map_err(|trouble| at(path, trouble))?;
        check_version(version).map_err(|trouble| at(path, trouble))?;
        Ok(registry)
    }

    /// Opens the registry in an existing file to copy it, whatever version its schema is.
    pub async fn open_to_copy(path: &Path) -> Result<Self> {
        let (registry, version) = open_readers(path).await.map_err(|trouble| at(path, trouble))?;
        let empty = || Trouble::new(TroubleKind::Damaged, "this is no registry: it has no schema");
        if version.is_some() { Ok(registry) } else { Err(at(path, empty()).into()) }
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

/// SQLite does not wait for a lock when two connections turn a new file to WAL or make its tables at once: one of them is
/// told "locked" right away. So the waiting is done here.
async fn open_when_free(path: &Path) -> std::result::Result<Registry, Trouble> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match open_pools(path).await {
            Err(trouble) if trouble.kind == TroubleKind::Locked && Instant::now() < until => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn open_pools(path: &Path) -> std::result::Result<Registry, Trouble> {
    let options = options(path)?;
    let writing = options.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let writer = pool(1).connect_with(writing).await?;
    bring_up_to_date(&mut *writer.acquire().await?).await?;
    begin_feed(&writer).await?;
    let readers = pool(READERS).connect_with(options.read_only(true)).await?;
    Ok(Registry { writer, readers, last_trial: LastTrial::default(), actor: None })
}

/// A registry without a connection that can write, and the version of its schema.
async fn open_readers(path: &Path) -> std::result::Result<(Registry, Option<i64>), Trouble> {
    let readers = pool(READERS).connect_with(options(path)?.read_only(true)).await?;
    let version = applied_version(&mut *readers.acquire().await?).await?;
    Ok((Registry { writer: readers.clone(), readers, actor: None, last_trial: LastTrial::default() }, version))
}

fn options(path: &Path) -> std::result::Result<SqliteConnectOptions, Trouble> {
    std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Trouble::new(
            TroubleKind::Io,
            "there is no registry yet: start 'rederive serve' once, or run 'rederive generation create', with this \
             configuration",
        ),
        _ => error.into(),
    })?;
    Ok(SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(LOCK_WAIT)
        .disable_statement_logging())
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
        if before.is_some_and(|version| version > newest_version()) {
            return check_version(before);
        }
        match MIGRATOR.run_direct(connection).await {
            Ok(()) => return Ok(()),
            Err(_) if applied_version(connection).await? > before => {}
            Err(error) => return Err(migration_trouble(error)),
        }
    }
}

async fn begin_feed(writer: &SqlitePool) -> std::result::Result<(), Trouble> {
    let outcome = async {
        let mut transaction = Transaction::write(writer).await?;
        let outcome = changes::begin(&mut transaction).await;
        transaction.end(outcome).await
    };
    outcome.await.map_err(|error| match error {
        RegistryError::Trouble(trouble) => trouble,
        error => Trouble::new(TroubleKind::BadRow, error.to_string()),
    })
}

/// The number of the newest migration in the file; `None` in an empty one.
async fn applied_version(connection: &mut SqliteConnection) -> std::result::Result<Option<i64>, Trouble> {
    let table = sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1").bind(APPLIED);
    if table.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(None);
    }
    let newest = sqlx::query(&format!("SELECT max(version) FROM {APPLIED}")).fetch_one(connection).await?;
    Ok(newest.try_get(0)?)
}

fn newest_version() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Refuses a schema of another version than this program's.
fn check_version(version: Option<i64>) -> std::result::Result<(), Trouble> {
    let (version, known) = (version.unwrap_or(0), newest_version());
    let text = match version.cmp(&known) {
        Ordering::Equal => return Ok(()),
        Ordering::Less => format!(
            "this registry's schema is version {version}: 'rederive serve' of this version will upgrade it to {known}"
        ),
        Ordering::Greater => format!(
            "the registry's schema is version {version}, this rederive knows up to {known}: \
             use the rederive that wrote it, or a newer one"
        ),
    };
    Err(Trouble::new(TroubleKind::Schema, text))
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
