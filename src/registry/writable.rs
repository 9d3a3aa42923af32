//! Whether the registry can be written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::transaction::transact;
use super::{Connection, Registry, Result, Trouble, TroubleKind, changes, query};

/// For how long one trial speaks for the next: whoever asks often makes no load on the disk.
const TRIAL_HOLDS: Duration = Duration::from_secs(1);
/// How long a trial may take. It waits in the same line as every other write.
const TRIAL_WAIT: Duration = Duration::from_secs(2);

/// When a trial last went well.
pub(super) type LastTrial = Arc<Mutex<Option<Instant>>>;

impl Registry {
    /// Writes to the registry and leaves no trace there: the only way to know that it can be written. (The write lock is
    /// had on a full disk, too, and a transaction that is rolled back never gets to the disk.)
    ///
    /// Once that went well, it is not tried again for a second.
    pub async fn check_writable(&self) -> Result<()> {
        let in_time = tokio::time::timeout(TRIAL_WAIT, self.try_to_write()).await;
        let too_late = format!("it could not be written for {} s", TRIAL_WAIT.as_secs());
        in_time.unwrap_or_else(|_| Err(Trouble::new(TroubleKind::Locked, too_late).into()))
    }

    async fn try_to_write(&self) -> Result<()> {
        let mut last = self.last_trial.lock().await;
        if last.is_some_and(|at| at.elapsed() < TRIAL_HOLDS) {
            return Ok(());
        }
        transact!(self, |transaction| write_and_take_back(transaction))?;
        *last = Some(Instant::now());
        Ok(())
    }
}

/// The page is written although its rows are the same as before. (An update that changes nothing writes nothing.)
async fn write_and_take_back(transaction: &mut Connection) -> Result<()> {
    changes::last(transaction).await?;
    query("INSERT INTO settings (name, value) VALUES ('trial', '')").execute(&mut *transaction).await?;
    query("DELETE FROM settings WHERE name = 'trial'").execute(transaction).await?;
    Ok(())
}
