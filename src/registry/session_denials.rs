//! Sessions that an operator denied by when they were issued. None of them has a row: what is kept is one time for an account, a user or a
//! key.

use super::cells::Cells;
use super::changes::{self, append_with};
use super::denials::check_exists;
use super::transaction::transact;
use super::{Change, ChangeKind, Connection, Registry, Result, Row, Subject, query};
use crate::feed::SessionDenials;

/// A denial of sessions that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDenial {
    /// Whose, as [`Subject::name`] names it.
    pub subject: String,
    /// Those that were issued before this time, in seconds since 1970.
    pub issued_before: i64,
    /// Since when it holds.
    pub at: i64,
}

impl Registry {
    /// Denies the sessions of a subject that were issued before a time; says whether they were not denied before. An earlier time than
    /// the one that holds changes nothing: that would be a lifting.
    pub async fn deny_sessions(&self, subject: &Subject, issued_before: i64, at: i64) -> Result<bool> {
        transact!(self, |transaction| deny(transaction, subject, issued_before, at))
    }

    /// Lifts the denial of a subject's sessions; says whether there was one.
    pub async fn lift_sessions(&self, subject: &Subject, at: i64) -> Result<bool> {
        transact!(self, |transaction| lift(transaction, subject, at))
    }

    /// Every denial of sessions that holds, ordered by subject.
    pub async fn session_denials(&self) -> Result<Vec<SessionDenial>> {
        all(&mut self.readers.acquire().await?).await
    }
}

/// The denials, as the connection sees them.
pub(super) async fn all(connection: &mut Connection) -> Result<Vec<SessionDenial>> {
    let rows = query("SELECT subject, issued_before, at FROM session_denials ORDER BY subject");
    let rows = rows.fetch_all(connection).await?;
    Ok(rows.iter().map(read).collect())
}

/// A cell that does not read keeps nobody from knowing the others, and lets no session through.
fn read(row: &Row) -> SessionDenial {
    let cells = Cells::of(row, "session_denials", "subject");
    SessionDenial {
        subject: row.name("subject"),
        issued_before: cells.int("issued_before").unwrap_or(i64::MAX),
        at: cells.int("at").unwrap_or(0),
    }
}

/// Makes or lifts one as an entry of the feed tells.
pub(super) async fn put_back(transaction: &mut Connection, change: &Change, at: i64) -> Result<()> {
    match change.kind {
        ChangeKind::SessionsDenied => {
            let issued_before = SessionDenials::issued_before(&change.detail);
            deny_named(transaction, &change.subject, issued_before, at).await.map(|_| ())
        }
        _ => lift_named(transaction, &change.subject, at).await.map(|_| ()),
    }
}

async fn deny(transaction: &mut Connection, subject: &Subject, issued_before: i64, at: i64) -> Result<bool> {
    check_exists(transaction, subject).await?;
    deny_named(transaction, &subject.name(), issued_before, at).await
}

async fn deny_named(transaction: &mut Connection, name: &str, issued_before: i64, at: i64) -> Result<bool> {
    let denied = query(
        "INSERT INTO session_denials (subject, issued_before, at) VALUES ($1, $2, $3) ON CONFLICT (subject) DO UPDATE \
         SET issued_before = excluded.issued_before, at = excluded.at \
         WHERE session_denials.issued_before < excluded.issued_before",
    );
    let denied = denied.bind(name).bind(issued_before).bind(at);
    if denied.execute(&mut *transaction).await? == 0 {
        return Ok(false);
    }
    let detail = SessionDenials::detail(issued_before);
    append_with(transaction, at, ChangeKind::SessionsDenied, name, detail).await?;
    Ok(true)
}

async fn lift(transaction: &mut Connection, subject: &Subject, at: i64) -> Result<bool> {
    check_exists(transaction, subject).await?;
    lift_named(transaction, &subject.name(), at).await
}

async fn lift_named(transaction: &mut Connection, name: &str, at: i64) -> Result<bool> {
    let lifted = query("DELETE FROM session_denials WHERE subject = $1").bind(name);
    if lifted.execute(&mut *transaction).await? == 0 {
        return Ok(false);
    }
    changes::append(transaction, at, ChangeKind::SessionsLifted, name).await?;
    Ok(true)
}
