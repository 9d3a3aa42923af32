//! The list of changes: what verifiers must hear of, numbered without gaps in the order of commits.

use std::fmt;

use sqlx::{Row, SqliteConnection};

use super::cells::Cells;
use super::{Registry, Result};

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// 1 and up, without gaps.
    pub seq: i64,
    /// When it was made, by the clock of who made it.
    pub at: i64,
    /// What happened.
    pub kind: ChangeKind,
    /// To what: an access key id, a generation's number, an account's twelve digits, a user id.
    pub subject: String,
}

/// What can happen to something that verifiers care about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ChangeKind {
    AccountCreated,
    UserCreated,
    UserDeleted,
    KeyActivated,
    KeyDeactivated,
    KeyDeleted,
    GenerationCreated,
    GenerationIssuing,
    GenerationVerifying,
    GenerationClosed,
}

const NAMES: [(ChangeKind, &str); 10] = [
    (ChangeKind::AccountCreated, "account-created"),
    (ChangeKind::UserCreated, "user-created"),
    (ChangeKind::UserDeleted, "user-deleted"),
    (ChangeKind::KeyActivated, "key-activated"),
    (ChangeKind::KeyDeactivated, "key-deactivated"),
    (ChangeKind::KeyDeleted, "key-deleted"),
    (ChangeKind::GenerationCreated, "generation-created"),
    (ChangeKind::GenerationIssuing, "generation-issuing"),
    (ChangeKind::GenerationVerifying, "generation-verifying"),
    (ChangeKind::GenerationClosed, "generation-closed"),
];

impl ChangeKind {
    fn as_str(self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self).expect("every kind has a name").1
    }

    fn parse(text: &str) -> Option<Self> {
        NAMES.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind)
    }
}

impl Registry {
    /// At most `limit` entries after number `seq`, in order. Start with 0.
    pub async fn changes_since(&self, seq: i64, limit: u32) -> Result<Vec<Change>> {
        let rows = sqlx::query("SELECT seq, at, kind, subject FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(seq)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let cells = Cells::of(row, "changes", "seq");
                Ok(Change {
                    seq: cells.int("seq")?,
                    at: cells.int("at")?,
                    kind: cells.word("kind", ChangeKind::parse)?,
                    subject: cells.text("subject")?,
                })
            })
            .collect()
    }

    /// The number of the newest entry, 0 if there is none.
    pub async fn last_change(&self) -> Result<i64> {
        last(&mut *self.readers.acquire().await?).await
    }
}

/// The newest number as the connection sees it.
pub(super) async fn last(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query("SELECT last FROM change_counter").fetch_one(connection).await?.try_get(0)?)
}

/// Appends an entry inside a transaction and returns its number.
pub(super) async fn append(
    transaction: &mut SqliteConnection,
    at: i64,
    kind: ChangeKind,
    subject: impl fmt::Display,
) -> Result<i64> {
    let counter = sqlx::query("UPDATE change_counter SET last = last + 1 RETURNING last");
    let seq: i64 = counter.fetch_one(&mut *transaction).await?.try_get(0)?;
    sqlx::query("INSERT INTO changes (seq, at, kind, subject) VALUES ($1, $2, $3, $4)")
        .bind(seq)
        .bind(at)
        .bind(kind.as_str())
        .bind(subject.to_string())
        .execute(transaction)
        .await?;
    Ok(seq)
}
