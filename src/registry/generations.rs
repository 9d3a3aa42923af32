//! Generations of master keys: which exist, what they are good for, and their state, which goes one way only.

use std::fmt;
use std::ops::RangeInclusive;

use rederive_hsm::access_key_id::Generation;
use rederive_hsm::config::KeyClass;
use rederive_hsm::pkcs11::hex;

use super::cells::Cells;
use super::changes;
use super::transaction::transact;
use super::{Change, ChangeKind, Connection, Registry, RegistryError, Result, Row, query};

/// A generation's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRow {
    /// Its number, used once for ever.
    pub number: Generation,
    /// Where it is in its life.
    pub state: GenerationState,
    /// `subkey("check-value")` of its master.
    pub check_value: [u8; 32],
    /// How its master may be copied.
    pub class: KeyClass,
    /// The shares of accounts it is good for.
    pub shares: RangeInclusive<u16>,
    /// When it was registered.
    pub created_at: i64,
}

/// A generation's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GenerationState {
    /// Announced, nothing issued yet.
    Pending,
    /// Keys are issued and verified.
    Issuing,
    /// Keys are verified only.
    Verifying,
    /// Its keys are refused.
    Closed,
}

const STATES: [(GenerationState, &str); 4] = [
    (GenerationState::Pending, "pending"),
    (GenerationState::Issuing, "issuing"),
    (GenerationState::Verifying, "verifying"),
    (GenerationState::Closed, "closed"),
];

impl GenerationState {
    /// The word for it in configuration, logs and the registry.
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).expect("every state has a name").1
    }

    fn parse(text: &str) -> Option<Self> {
        STATES.iter().find(|(_, name)| *name == text).map(|(state, _)| *state)
    }
}

impl fmt::Display for GenerationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const SELECT: &str = "SELECT number, state, check_value, class, share_first, share_last, created_at FROM generations";

impl Registry {
    /// Registers a generation; refuses a number that was used before.
    pub async fn insert_generation(&self, row: &GenerationRow) -> Result<()> {
        transact!(self, |transaction| insert(transaction, row))
    }

    /// All generations, closed ones too, by number.
    pub async fn generations(&self) -> Result<Vec<GenerationRow>> {
        all(&mut self.readers.acquire().await?).await
    }

    /// Moves a generation forward in its life. The state it has already is no error and no change.
    pub async fn set_generation_state(&self, number: Generation, to: GenerationState, at: i64) -> Result<()> {
        transact!(self, |transaction| set_state(transaction, number, to, at))
    }
}

/// Registers a generation inside a transaction.
pub(super) async fn insert(transaction: &mut Connection, row: &GenerationRow) -> Result<()> {
    let inserted = query(
        "INSERT INTO generations (number, state, check_value, class, share_first, share_last, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (number) DO NOTHING",
    )
    .bind(i64::from(row.number.number()))
    .bind(row.state.as_str())
    .bind(row.check_value.as_slice())
    .bind(row.class.name())
    .bind(i64::from(*row.shares.start()))
    .bind(i64::from(*row.shares.end()))
    .bind(row.created_at)
    .execute(&mut *transaction)
    .await?;
    if inserted == 0 {
        return Err(RegistryError::GenerationExists(row.number));
    }
    announce(transaction, row, row.created_at).await
}

/// Moves a generation forward inside a transaction.
pub(super) async fn set_state(
    transaction: &mut Connection,
    number: Generation,
    to: GenerationState,
    at: i64,
) -> Result<()> {
    let row = one(transaction, number).await?;
    let from = row.state;
    if to < from {
        return Err(RegistryError::StateGoesBack { generation: number, from, to });
    }
    if to == from {
        return Ok(());
    }
    query("UPDATE generations SET state = $1 WHERE number = $2")
        .bind(to.as_str())
        .bind(i64::from(number.number()))
        .execute(&mut *transaction)
        .await?;
    announce(transaction, &GenerationRow { state: to, ..row }, at).await
}

async fn one(connection: &mut Connection, number: Generation) -> Result<GenerationRow> {
    let row = format!("{SELECT} WHERE number = $1");
    let row = query(&row).bind(i64::from(number.number())).fetch_optional(&mut *connection).await?;
    read_or_recall(connection, &row.ok_or(RegistryError::NoSuchGeneration(number))?).await
}

/// A generation's state inside a transaction.
pub(super) async fn state(transaction: &mut Connection, number: Generation) -> Result<GenerationState> {
    Ok(one(transaction, number).await?.state)
}

/// A row that does not read is had from the feed, whose newest entry about a generation tells all of it.
pub(super) async fn read_or_recall(connection: &mut Connection, row: &Row) -> Result<GenerationRow> {
    let error = match read(row) {
        Err(error) if error.is_bad_row() => error,
        outcome => return outcome,
    };
    let told = "SELECT seq, at, kind, subject, detail FROM changes WHERE subject = $1 AND kind LIKE 'generation-%' \
                ORDER BY seq DESC LIMIT 1";
    let told = query(told).bind(row.name("number")).fetch_optional(connection).await?;
    let told = told.map(|row| changes::read(&row)).transpose()?.and_then(|change| GenerationRow::of_change(&change));
    let Some(told) = told else { return Err(error) };
    tracing::error!(%error, "a malformed row of the registry: this generation is taken as the deny feed tells of it");
    Ok(told)
}

/// One entry tells all of a generation: who hears of it needs no other, and no row.
async fn announce(transaction: &mut Connection, row: &GenerationRow, at: i64) -> Result<()> {
    let kind = KINDS.iter().find(|(state, _)| *state == row.state).expect("every state has a kind").1;
    changes::append_with(transaction, at, kind, row.number, row.detail()).await.map(|_| ())
}

/// All generations, as the connection sees them.
pub(super) async fn all(connection: &mut Connection) -> Result<Vec<GenerationRow>> {
    let rows = query(&format!("{SELECT} ORDER BY number")).fetch_all(&mut *connection).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        all.push(read_or_recall(connection, row).await?);
    }
    Ok(all)
}

/// Tells of every generation as it is: for the beginning of a feed.
pub(super) async fn announce_all(transaction: &mut Connection) -> Result<()> {
    for row in all(transaction).await? {
        announce(transaction, &row, row.created_at).await?;
    }
    Ok(())
}

const KINDS: [(GenerationState, ChangeKind); 4] = [
    (GenerationState::Pending, ChangeKind::GenerationCreated),
    (GenerationState::Issuing, ChangeKind::GenerationIssuing),
    (GenerationState::Verifying, ChangeKind::GenerationVerifying),
    (GenerationState::Closed, ChangeKind::GenerationClosed),
];

impl GenerationRow {
    /// Class, shares and check value, as the feed has them: `strict 0000-ffff 80bb…`.
    fn detail(&self) -> String {
        let (first, last) = (self.shares.start(), self.shares.end());
        format!("{} {first:04x}-{last:04x} {}", self.class.name(), hex(&self.check_value))
    }

    /// The generation that an entry of the feed tells of; `None` if the entry is of another kind, or an older version's, or
    /// does not read.
    pub fn of_change(change: &Change) -> Option<Self> {
        let state = KINDS.iter().find(|(_, kind)| *kind == change.kind)?.0;
        let mut words = change.detail.split(' ');
        let class = KeyClass::from_name(words.next()?)?;
        let (first, last) = words.next()?.split_once('-')?;
        let share = |text| u16::from_str_radix(text, 16).ok();
        let mut check_value = [0; 32];
        base16ct::lower::decode(words.next()?, &mut check_value).ok().filter(|bytes| bytes.len() == 32)?;
        Some(Self {
            number: Generation::new(change.subject.parse().ok()?)?,
            state,
            check_value,
            class,
            shares: share(first)?..=share(last)?,
            created_at: change.at,
        })
    }
}

fn read(row: &Row) -> Result<GenerationRow> {
    let cells = Cells::of(row, "generations", "number");
    let share = |column| cells.number(column, |number| u16::try_from(number).ok());
    Ok(GenerationRow {
        number: cells.number("number", |number| Generation::new(u8::try_from(number).ok()?))?,
        state: cells.word("state", GenerationState::parse)?,
        check_value: cells.hash("check_value")?,
        class: cells.word("class", KeyClass::from_name)?,
        shares: share("share_first")?..=share("share_last")?,
        created_at: cells.int("created_at")?,
    })
}
