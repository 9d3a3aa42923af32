//! Telling other processes of a change at once, where the engine can: PostgreSQL's NOTIFY and LISTEN.
//!
//! Only to be quicker. Everybody polls, so that nothing hangs on it: a notification that is lost, or an engine that has none, costs
//! a tenth of a second.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::connection::Pool;
use super::{Registry, query};

const CHANNEL: &str = "rederive_changes";
/// After trouble.
const LATER: Duration = Duration::from_secs(1);

/// Hears of changes that other processes make.
pub struct Listener {
    /// A file has none.
    options: Option<PgConnectOptions>,
    open: Option<PgListener>,
}

impl Registry {
    /// Tells others that something was changed; waits for nothing.
    pub(super) fn announce(&self) {
        let Pool::Postgres(_) = &self.readers else { return };
        let readers = self.readers.clone();
        // Not in the transaction: there an engine that has no such statement would undo what was done.
        tokio::spawn(async move {
            if let Ok(mut connection) = readers.acquire().await {
                let told = query(&format!("NOTIFY {CHANNEL}")).execute(&mut connection).await;
                told.inspect_err(|error| tracing::debug!(%error, "others hear of a change by their poll alone")).ok();
            }
        });
    }

    /// Something that hears of changes.
    pub fn listener(&self) -> Listener {
        let options = match &self.readers {
            Pool::Postgres(pool) => Some(pool.options()),
            Pool::Sqlite(_) => None,
        };
        Listener { options, open: None }
    }
}

impl Listener {
    /// Returns when something may have been changed; of a file, never.
    pub async fn heard(&mut self) {
        let Some(options) = &self.options else { return std::future::pending().await };
        loop {
            let heard = match &mut self.open {
                Some(listener) => listener.recv().await.map(drop),
                // What came before nobody has heard.
                None => connect(options.clone()).await.map(|listener| self.open = Some(listener)),
            };
            let Err(error) = heard else { return };
            tracing::debug!(%error, "changes are heard of by the poll alone");
            self.open = None;
            tokio::time::sleep(LATER).await;
        }
    }
}

async fn connect(options: PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
