//! Opening the registry: where it is, its connections, its schema.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::Pool;
use super::postgres::PostgresPool;
use super::sqlite::{self, LOCK_WAIT};
use super::transaction::Transaction;
use super::writable::LastTrial;
use super::{Location, Registry, RegistryError, Result, Trouble, TroubleKind, changes, schema};

/// Between two tries to open a locked file.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Connections to PostgreSQL that read. One more writes: within a process, writers wait for each other here.
const READERS: usize = 8;

impl Registry {
    /// Opens the registry. A file is made (mode 0600) if there is none; a database must be there.
    pub async fn create_or_open(location: &Location) -> Result<Self> {
        if let Location::File(path) = location {
            sqlite::create_file(path).map_err(|trouble| at(location, trouble))?;
        }
        Self::open(location).await
    }

    /// Opens a registry that is there, and brings its schema up to date.
    ///
    /// A schema newer than this program is refused, unless it says that this one may work on it.
    pub async fn open(location: &Location) -> Result<Self> {
        open_when_free(location).await.map_err(|error| error.at(location))
    }

    /// Opens a registry to read it. Nothing in it changes; writing calls fail.
    ///
    /// A schema older than this program's is refused, and a newer one as in [`open`](Self::open).
    pub async fn open_to_read(location: &Location) -> Result<Self> {
        let open = async {
            let registry = open_readers(location).await?;
            schema::check(&mut registry.readers.acquire().await?).await?;
            Ok(registry)
        };
        open.await.map_err(|error: RegistryError| error.at(location))
    }

    /// Opens a registry to copy it, whatever version its schema is.
    pub async fn open_to_copy(location: &Location) -> Result<Self> {
        let open = async {
            let registry = open_readers(location).await?;
            match schema::applied_version(&mut registry.readers.acquire().await?).await? {
                Some(_) => Ok(registry),
                None => Err(Trouble::new(TroubleKind::Damaged, "this is no registry: it has no schema").into()),
            }
        };
        open.await.map_err(|error: RegistryError| error.at(location))
    }

    fn on(writer: Pool, readers: Pool) -> Self {
        let (last_trial, line, seen) = (LastTrial::default(), Arc::default(), Arc::default());
        Self { writer, readers, last_trial, line, seen, actor: None }
    }

    /// Waits for running calls and closes what is open. Later calls fail.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// SQLite does not wait for a lock when two connections turn a new file to WAL or make its tables at once: one of them is
/// told "locked" right away. So the waiting is done here.
async fn open_when_free(location: &Location) -> Result<Registry> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match open_to_write(location).await {
            Err(RegistryError::Trouble(trouble)) if trouble.kind == TroubleKind::Locked && Instant::now() < until => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn open_to_write(location: &Location) -> Result<Registry> {
    let writer = match location {
        Location::File(path) => sqlite::writer(path).await?,
        Location::Postgres(database) => Pool::Postgres(PostgresPool::new(database.options().clone(), 1, false)),
    };
    schema::bring_up_to_date(&mut writer.acquire().await?).await?;
    let mut transaction = Transaction::write(&writer).await?;
    let begun = changes::begin(transaction.connection()).await;
    transaction.end(begun).await?;
    let readers = match location {
        Location::File(path) => sqlite::readers(path).await?,
        Location::Postgres(database) => Pool::Postgres(PostgresPool::new(database.options().clone(), READERS, false)),
    };
    Ok(Registry::on(writer, readers))
}

/// A registry without a connection that can write.
async fn open_readers(location: &Location) -> Result<Registry> {
    let readers = match location {
        Location::File(path) => sqlite::readers(path).await?,
        Location::Postgres(database) => Pool::Postgres(PostgresPool::new(database.options().clone(), READERS, true)),
    };
    Ok(Registry::on(readers.clone(), readers))
}

fn at(location: &Location, trouble: Trouble) -> RegistryError {
    RegistryError::from(trouble).at(location)
}
