//! Transactions that leave no connection in doubt.
//!
//! After some failures (a full disk is one) SQLite has rolled back by itself, after others it has not, and a `COMMIT` or
//! `ROLLBACK` can fail as well. So only a connection whose transaction ended cleanly goes back to its pool. Any other is
//! closed, which ends whatever was open on it, and the next call gets a new one.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, SqliteConnection};

use super::{RegistryError, Result};

/// A running transaction. Dropped before [`Transaction::end`] has returned, it is rolled back by closing its connection.
pub(super) struct Transaction {
    /// `None` once the connection is clean and back in its pool.
    connection: Option<PoolConnection<Sqlite>>,
}

impl Transaction {
    /// Starts one that holds the write lock.
    pub async fn write(writer: &SqlitePool) -> Result<Self> {
        Self::begin(writer, "BEGIN IMMEDIATE").await
    }

    /// Starts one that sees the registry as it is at its first read.
    pub async fn read(readers: &SqlitePool) -> Result<Self> {
        Self::begin(readers, "BEGIN").await
    }

    async fn begin(pool: &SqlitePool, how: &'static str) -> Result<Self> {
        let mut transaction = Self { connection: Some(pool.acquire().await?) };
        sqlx::query(how).execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// Commits what went well, and rolls back what did not; gives the outcome once that is done.
    pub async fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        let how = match &outcome {
            Ok(_) => "COMMIT",
            // Nobody knows what is still open on it.
            Err(RegistryError::Trouble(_)) => return outcome,
            Err(_) => "ROLLBACK",
        };
        sqlx::query(how).execute(&mut *self).await?;
        drop(self.connection.take());
        outcome
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl Deref for Transaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("it is there until the end")
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("it is there until the end")
    }
}
