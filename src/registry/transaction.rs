//! Transactions that leave no connection in doubt.
//!
//! After some failures (a full disk is one) SQLite has rolled back by itself, after others it has not, and a `COMMIT` or
//! `ROLLBACK` can fail as well. So only a connection whose transaction ended cleanly goes back to its pool. Any other is
//! closed, which ends whatever was open on it, and the next call gets a new one.

use std::time::Duration;

use super::connection::{Connection, Pool};
use super::{RegistryError, Result, TroubleKind, query};

/// How often a transaction is begun anew because another writer was in its way.
const TRIES: u32 = 5;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(10);

/// `transact!(registry, |transaction| work(transaction, …))` runs `work` in a transaction that holds the write lock from its start
/// to its end, and commits if it went well.
///
/// It may run several times: engines that keep no locks let one of two writers begin anew. (A macro, because no bound says
/// of a closure that the futures that it gives can be sent.)
macro_rules! transact {
    ($registry:expr, |$transaction:ident| $work:expr) => {{
        let mut tries = 1;
        loop {
            let mut open = $registry.begin_to_write().await?;
            let $transaction = open.connection();
            let outcome = $work.await;
            match open.end(outcome).await {
                Err(error) if $crate::registry::transaction::may_begin_anew(&error, tries).await => tries += 1,
                outcome => {
                    if outcome.is_ok() {
                        $registry.announce();
                    }
                    break outcome;
                }
            }
        }
    }};
}
pub(super) use transact;

/// Whether everything was rolled back because of another writer; waits a little before it says so.
pub(super) async fn may_begin_anew(error: &RegistryError, tries: u32) -> bool {
    let collided = matches!(error, RegistryError::Trouble(trouble) if trouble.kind == TroubleKind::Collided);
    if collided && tries < TRIES {
        tokio::time::sleep(PAUSE * tries).await;
    }
    collided && tries < TRIES
}

/// A running transaction. Dropped before [`Transaction::end`] has returned, it is rolled back by closing its connection.
pub(super) struct Transaction {
    /// `None` once the connection is clean and back in its pool.
    connection: Option<Connection>,
}

impl Transaction {
    /// Starts one that holds the write lock.
    pub async fn write(pool: &Pool) -> Result<Self> {
        let mut transaction = Self { connection: Some(pool.acquire().await?) };
        transaction.connection().begin_to_write().await?;
        Ok(transaction)
    }

    /// Starts one that sees the registry as it is at its first read.
    pub async fn read(pool: &Pool) -> Result<Self> {
        let mut transaction = Self { connection: Some(pool.acquire().await?) };
        transaction.connection().begin_to_read().await?;
        Ok(transaction)
    }

    /// What it runs on.
    pub fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is there until the end")
    }

    /// Commits what went well, and rolls back what did not; gives the outcome once that is done.
    pub async fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        let how = match &outcome {
            Ok(_) => "COMMIT",
            // Nobody knows what is still open on it.
            Err(RegistryError::Trouble(_)) => return outcome,
            Err(_) => "ROLLBACK",
        };
        query(how).execute(self.connection()).await?;
        drop(self.connection.take());
        outcome
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.condemn();
        }
    }
}
