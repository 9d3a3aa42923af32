//! The deny feed as the registry holds it: numbered without gaps in the order of commits, each entry with its hash.

use std::fmt;

use super::cells::Cells;
use super::transaction::transact;
use super::{Connection, Registry, RegistryError, Result, Row, Trouble, TroubleKind, generations, query};
use crate::feed::{Chain, Change, ChangeKind, Epoch};

/// Entries that are read at a time where there may be many.
const PAGE: u32 = 1000;

impl Registry {
    /// At most `limit` entries after number `seq`, in order. Start with 0.
    pub async fn changes_since(&self, seq: i64, limit: u32) -> Result<Vec<Change>> {
        since(&mut self.readers.acquire().await?, seq, limit).await
    }

    /// At most `limit` entries after what is known, in order, and how far they go. Trouble if the registry has something else
    /// there: it was set back to an older state, or is another one.
    pub async fn changes_after(&self, known: &Chain, limit: u32) -> Result<(Vec<Change>, Chain)> {
        let connection = &mut self.readers.acquire().await?;
        let rows =
            query("SELECT seq, at, kind, subject, detail, hash FROM changes WHERE seq >= $1 ORDER BY seq LIMIT $2")
                .bind(known.number)
                .bind(i64::from(limit) + 1)
                .fetch_all(connection)
                .await?;
        let new = match (known.number, rows.split_first()) {
            (0, _) if Chain::begin(&head(connection).await?.0) == *known => &rows[..],
            (1.., Some((first, new))) if is_known(first, known)? => new,
            _ => return Err(set_back(known)),
        };
        let changes = new.iter().map(read).collect::<Result<Vec<_>>>()?;
        let chain = changes.iter().try_fold(*known, |chain, change| chained(&chain, change))?;
        self.has_seen(chain);
        Ok((changes, chain))
    }

    /// The number of the newest entry, 0 if there is none.
    pub async fn last_change(&self) -> Result<i64> {
        last(&mut self.readers.acquire().await?).await
    }

    /// The feed's epoch and how far it goes, every entry up to there with its hash.
    pub async fn feed_head(&self) -> Result<(Epoch, Chain)> {
        // In one look, or a change between two would make it wait for the write lock, only to find nothing to do.
        let row = query("SELECT one, epoch, number, hash, (SELECT last FROM change_counter) AS last FROM feed_head");
        let row = row.fetch_one(&mut self.readers.acquire().await?).await?;
        let (epoch, head) = read_head(&row)?;
        if head.number == Cells::of(&row, "feed_head", "one").int("last")? {
            return Ok((epoch, head));
        }
        // A node of an older version appended.
        transact!(self, |transaction| fill_in(transaction))
    }

    /// The hash of an entry; that of number 0 is where the epoch begins. `None` if there is no such entry, or not yet.
    pub async fn hash_of_change(&self, seq: i64) -> Result<Option<Chain>> {
        hash_of(&mut self.readers.acquire().await?, seq).await
    }
}

/// The hash of an entry, as the connection sees it.
pub(super) async fn hash_of(connection: &mut Connection, seq: i64) -> Result<Option<Chain>> {
    if seq == 0 {
        return Ok(Some(Chain::begin(&head(connection).await?.0)));
    }
    let row = query("SELECT seq, hash FROM changes WHERE seq = $1 AND hash IS NOT NULL").bind(seq);
    let row = row.fetch_optional(connection).await?;
    row.map(|row| Ok(Chain { number: seq, hash: Cells::of(&row, "changes", "seq").hash("hash")? })).transpose()
}

/// Refuses a registry that is not the one that was followed so far.
pub(super) async fn check_seen(transaction: &mut Connection, seen: Option<Chain>) -> Result<()> {
    let Some(seen) = seen.filter(|seen| seen.number > 0) else { return Ok(()) };
    let row =
        query("SELECT seq, hash FROM changes WHERE seq = $1").bind(seen.number).fetch_optional(transaction).await?;
    match row {
        Some(row) if is_known(&row, &seen)? => Ok(()),
        _ => Err(set_back(&seen)),
    }
}

/// Whether a row is the entry that is known. One without a hash was just appended by an older version.
fn is_known(row: &Row, known: &Chain) -> Result<bool> {
    let hash: Option<Vec<u8>> = row.try_get("hash")?;
    let cells = Cells::of(row, "changes", "seq");
    Ok(cells.int("seq")? == known.number && hash.is_none_or(|hash| hash == known.hash))
}

fn set_back(known: &Chain) -> RegistryError {
    let text = format!(
        "ALARM: entry {} of the deny feed is not the one that this node has seen: an old copy of the registry was restored, or a \
         database that lacks the last changes has taken over. Nothing is issued, and soon nothing decided",
        known.number
    );
    Trouble::new(TroubleKind::SetBack, text).into()
}

/// Begins the feed, once in the life of a registry. What exists already is told anew where the entries of older versions do not
/// tell enough.
pub(super) async fn begin(transaction: &mut Connection) -> Result<()> {
    let has_begun = query("SELECT 1 FROM feed_head").fetch_optional(&mut *transaction).await?.is_some();
    if has_begun {
        return Ok(());
    }
    let epoch = random_epoch()?;
    query("INSERT INTO feed_head (one, epoch, number, hash) VALUES (1, $1, 0, $2)")
        .bind(epoch.as_slice())
        .bind(Chain::begin(&epoch).hash.as_slice())
        .execute(&mut *transaction)
        .await?;
    generations::announce_all(transaction).await
}

/// Begins a new epoch with the entries that there are.
pub(super) async fn begin_epoch(transaction: &mut Connection) -> Result<()> {
    let epoch = random_epoch()?;
    query("UPDATE changes SET hash = NULL").execute(transaction).await?;
    query("UPDATE feed_head SET epoch = $1, number = 0, hash = $2")
        .bind(epoch.as_slice())
        .bind(Chain::begin(&epoch).hash.as_slice())
        .execute(transaction)
        .await?;
    fill_in(transaction).await.map(|_| ())
}

fn random_epoch() -> Result<Epoch> {
    let mut epoch = Epoch::default();
    getrandom::fill(&mut epoch).map_err(|error| Trouble::new(TroubleKind::Io, error.to_string()))?;
    Ok(epoch)
}

/// The newest number as the connection sees it.
pub(super) async fn last(connection: &mut Connection) -> Result<i64> {
    Ok(query("SELECT last FROM change_counter").fetch_one(connection).await?.try_get(0)?)
}

/// Appends an entry inside a transaction and returns its number.
pub(super) async fn append(
    transaction: &mut Connection,
    at: i64,
    kind: ChangeKind,
    subject: impl fmt::Display,
) -> Result<i64> {
    append_with(transaction, at, kind, subject, String::new()).await
}

/// The same, with a detail.
pub(super) async fn append_with(
    transaction: &mut Connection,
    at: i64,
    kind: ChangeKind,
    subject: impl fmt::Display,
    detail: String,
) -> Result<i64> {
    let (_, before) = fill_in(transaction).await?;
    let counter = query("UPDATE change_counter SET last = last + 1 RETURNING last");
    let seq: i64 = counter.fetch_one(&mut *transaction).await?.try_get(0)?;
    let change = Change { seq, at, kind, subject: subject.to_string(), detail };
    let after = chained(&before, &change)?;
    query("INSERT INTO changes (seq, at, kind, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(seq)
        .bind(at)
        .bind(kind.as_str())
        .bind(&change.subject)
        .bind(&change.detail)
        .bind(after.hash.as_slice())
        .execute(&mut *transaction)
        .await?;
    set_head(transaction, &after).await?;
    Ok(seq)
}

/// Gives every entry its hash, as far as it lacks one, and tells how far the feed goes.
pub(super) async fn fill_in(transaction: &mut Connection) -> Result<(Epoch, Chain)> {
    let (epoch, mut chain) = head(transaction).await?;
    let last = last(transaction).await?;
    if chain.number == last {
        return Ok((epoch, chain));
    }
    while chain.number < last {
        let page = since(transaction, chain.number, PAGE).await?;
        if page.is_empty() {
            return Err(gap(chain.number + 1).into());
        }
        for change in &page {
            chain = chained(&chain, change)?;
            query("UPDATE changes SET hash = $1 WHERE seq = $2")
                .bind(chain.hash.as_slice())
                .bind(change.seq)
                .execute(&mut *transaction)
                .await?;
        }
    }
    set_head(transaction, &chain).await?;
    Ok((epoch, chain))
}

/// With one more entry.
pub(super) fn chained(chain: &Chain, change: &Change) -> Result<Chain> {
    chain.with(change).map_err(|wrong| RegistryError::Trouble(Trouble::new(TroubleKind::BadRow, wrong.to_string())))
}

fn gap(number: i64) -> Trouble {
    Trouble::new(TroubleKind::BadRow, format!("entry {number} of the deny feed is missing"))
}

async fn set_head(transaction: &mut Connection, head: &Chain) -> Result<()> {
    query("UPDATE feed_head SET number = $1, hash = $2")
        .bind(head.number)
        .bind(head.hash.as_slice())
        .execute(transaction)
        .await?;
    Ok(())
}

async fn head(connection: &mut Connection) -> Result<(Epoch, Chain)> {
    read_head(&query("SELECT one, epoch, number, hash FROM feed_head").fetch_one(connection).await?)
}

fn read_head(row: &Row) -> Result<(Epoch, Chain)> {
    let cells = Cells::of(row, "feed_head", "one");
    Ok((cells.bytes("epoch")?, Chain { number: cells.int("number")?, hash: cells.hash("hash")? }))
}

async fn since(connection: &mut Connection, seq: i64, limit: u32) -> Result<Vec<Change>> {
    let rows = query("SELECT seq, at, kind, subject, detail FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2")
        .bind(seq)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// Reads a row: number, time, kind, subject, detail.
pub(super) fn read(row: &Row) -> Result<Change> {
    let cells = Cells::of(row, "changes", "seq");
    Ok(Change {
        seq: cells.int("seq")?,
        at: cells.int("at")?,
        kind: cells.word("kind", ChangeKind::parse)?,
        subject: cells.text("subject")?,
        detail: cells.text("detail")?,
    })
}
