//! A connection of either engine, and where they come from.

use sqlx::Sqlite;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePool;

use super::postgres::{Held, PostgresPool};
use super::{Result, query};

/// Connections that are kept open.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PostgresPool),
}

/// One of them, in use. It goes back when it is dropped, unless it was condemned.
pub(super) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(Held),
}

impl Pool {
    /// Waits in line for one.
    pub async fn acquire(&self) -> Result<Connection> {
        Ok(match self {
            Self::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
        })
    }

    /// Closes those that are idle; the others when they come back. There are no more then.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close(),
        }
    }
}

impl Connection {
    /// Closes it when it is dropped, which ends whatever is open on it.
    pub fn condemn(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.close_on_drop(),
            Self::Postgres(held) => held.condemn(),
        }
    }

    /// Begins a transaction that no other writer runs beside, from its first statement to its end.
    pub async fn begin_to_write(&mut self) -> Result<()> {
        match self {
            Self::Sqlite(_) => drop(query("BEGIN IMMEDIATE").execute(self).await?),
            // The row of the counter is the write lock. What is read after that is what the last writer committed.
            Self::Postgres(held) => {
                held.script("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT last FROM change_counter FOR UPDATE").await?
            }
        }
        Ok(())
    }

    /// Begins a transaction that sees the registry as it is at its first statement.
    pub async fn begin_to_read(&mut self) -> Result<()> {
        let how = match self {
            Self::Sqlite(_) => "BEGIN",
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        query(how).execute(self).await?;
        Ok(())
    }
}
