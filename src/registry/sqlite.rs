//! SQLite's file and the connections to it.

use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::connection::Pool;
use super::{Trouble, TroubleKind};

type Result<T> = std::result::Result<T, Trouble>;

/// How long a call waits for another process that holds the write lock.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long a call waits in line for a connection.
const LINE_WAIT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// Makes an empty file that only its owner may read. An existing one is never opened here: closing it again would
/// release the locks that SQLite holds on it elsewhere in this process (POSIX locks belong to the process).
pub(super) fn create_file(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_file() => {
            Ok(std::fs::set_permissions(path, Permissions::from_mode(0o600))?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The one connection that writes. A transaction is on the disk before its commit returns.
pub(super) async fn writer(path: &Path) -> Result<Pool> {
    let options = options(path)?.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    Ok(Pool::Sqlite(pool(1).connect_with(options).await?))
}

/// The few that read.
pub(super) async fn readers(path: &Path) -> Result<Pool> {
    Ok(Pool::Sqlite(pool(READERS).connect_with(options(path)?.read_only(true)).await?))
}

fn options(path: &Path) -> Result<SqliteConnectOptions> {
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
