//! Connections to PostgreSQL, or to an engine that speaks its protocol.
//!
//! A pool of our own, for what a network brings: a connection whose last statement did not come back in time, for whatever
//! reason, is dropped at once. (sqlx's asks it first whether it is well, and waits for the answer.)

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection as _, Executor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Trouble, TroubleKind};

type Result<T> = std::result::Result<T, Trouble>;

/// How long a statement may take, the wait for another writer included.
const STATEMENT_WAIT: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// How long a connection has to say that it is well.
const PING_WAIT: Duration = Duration::from_secs(1);
/// How long a call waits in line for a connection.
const LINE_WAIT: Duration = Duration::from_secs(5);
/// A connection that has been idle for longer is asked whether it is well before it is used.
const FRESH: Duration = Duration::from_secs(1);

/// What each session begins with, as far as the engine knows it. The server ends a session that holds the write lock and
/// does nothing: its process was stopped, or its machine is gone. And nothing is acknowledged that is not on the disk.
const SESSION: &str = "\
    SELECT set_config(wanted.name, wanted.setting, false) \
    FROM (VALUES ('lock_timeout', '4s'), ('idle_in_transaction_session_timeout', '5s')) AS wanted (name, setting) \
    WHERE EXISTS (SELECT 1 FROM pg_settings known WHERE known.name = wanted.name); \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit', true) = 'off'";
const READ_ONLY: &str = "SET default_transaction_read_only = on";

/// Connections that are kept open. Clones share them.
#[derive(Clone)]
pub(super) struct PostgresPool(Arc<Shared>);

struct Shared {
    options: PgConnectOptions,
    read_only: bool,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
    permits: Arc<Semaphore>,
    closed: AtomicBool,
}

/// A connection in use.
pub(super) struct Held {
    /// There until it is dropped.
    connection: Option<PgConnection>,
    state: State,
    pool: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Clean,
    /// A statement runs on it, or a transaction is open that nobody will end.
    InDoubt,
    /// It is lost, and so may be those that are idle.
    Broken,
}

/// Gives up on what takes too long.
pub(super) async fn in_time<T>(
    statement: impl Future<Output = std::result::Result<T, sqlx::Error>>,
) -> std::result::Result<T, sqlx::Error> {
    let in_time = tokio::time::timeout(STATEMENT_WAIT, statement).await;
    in_time.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::Error::from(ErrorKind::TimedOut))))
}

async fn is_well(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(PING_WAIT, connection.ping()).await, Ok(Ok(())))
}

impl PostgresPool {
    /// With room for so many, none of them open yet.
    pub fn new(options: PgConnectOptions, connections: usize, read_only: bool) -> Self {
        let options = options.disable_statement_logging();
        let (idle, permits) = (Mutex::default(), Arc::new(Semaphore::new(connections)));
        Self(Arc::new(Shared { options, read_only, idle, permits, closed: AtomicBool::new(false) }))
    }

    /// Waits in line for one.
    pub async fn acquire(&self) -> Result<Held> {
        let in_line = tokio::time::timeout(LINE_WAIT, self.0.permits.clone().acquire_owned()).await;
        let too_long = |_| Trouble::new(TroubleKind::Locked, "every connection is in use");
        let permit = in_line.map_err(too_long)?.map_err(|_| Trouble::new(TroubleKind::Io, "it was closed"))?;
        let connection = match self.idle().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Held { connection: Some(connection), state: State::Clean, pool: self.0.clone(), _permit: permit })
    }

    /// How it connects.
    pub fn options(&self) -> PgConnectOptions {
        self.0.options.clone()
    }

    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.permits.close();
        self.0.idle().clear();
    }

    async fn idle(&self) -> Option<PgConnection> {
        loop {
            let (mut connection, since) = self.0.idle().pop()?;
            if since.elapsed() < FRESH || is_well(&mut connection).await {
                return Some(connection);
            }
            self.0.idle().clear();
        }
    }

    async fn connect(&self) -> Result<PgConnection> {
        let connecting = async {
            let mut connection = self.0.options.connect().await?;
            connection.execute(SESSION).await?;
            if self.0.read_only {
                connection.execute(READ_ONLY).await?;
            }
            Ok::<_, sqlx::Error>(connection)
        };
        let too_long = |_| Trouble::new(TroubleKind::Unreachable, "it does not answer");
        Ok(tokio::time::timeout(CONNECT_WAIT, connecting).await.map_err(too_long)??)
    }
}

impl std::fmt::Debug for PostgresPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostgresPool")
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<(PgConnection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// For one statement, whose outcome [`settle`](Self::settle) must be told. If it never is, the connection is dropped.
    pub fn begin(&mut self) -> &mut PgConnection {
        self.state = State::InDoubt;
        self.connection.as_mut().expect("it is there until it is dropped")
    }

    /// After a statement.
    pub fn settle<T>(&mut self, outcome: std::result::Result<T, sqlx::Error>) -> Result<T> {
        self.state = match &outcome {
            Ok(_) | Err(sqlx::Error::Database(_)) => State::Clean,
            Err(_) => State::Broken,
        };
        Ok(outcome?)
    }

    /// After statements whose outcome is judged elsewhere.
    pub fn keep(&mut self) {
        self.state = State::Clean;
    }

    /// Runs statements that have no parameters and give nothing.
    pub async fn script(&mut self, sql: &str) -> Result<()> {
        let outcome = in_time(self.begin().execute(sql)).await;
        self.settle(outcome).map(drop)
    }

    pub fn condemn(&mut self) {
        if self.state == State::Clean {
            self.state = State::InDoubt;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let connection = self.connection.take();
        match self.state {
            State::Clean if !self.pool.closed.load(Ordering::Acquire) => {
                self.pool.idle().extend(connection.map(|connection| (connection, Instant::now())));
            }
            State::Clean | State::InDoubt => {}
            State::Broken => self.pool.idle().clear(),
        }
    }
}
