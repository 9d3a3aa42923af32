//! A rotation of masters that was begun: what it is to do stands here until it is done, so that whoever was killed in the
//! middle can go on. How far it has come is told by the states of its generations.

use rederive_hsm::config::KeyClass;
use serde::{Deserialize, Serialize};

use super::generations::insert;
use super::settings::{store, value};
use super::transaction::transact;
use super::{Connection, GenerationRow, Registry, RegistryError, Result, Trouble, TroubleKind};

/// The row of `settings` that holds it; empty while there is none.
const ROTATION: &str = "rotation";

/// One generation takes another's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The generation that is to be retired, 0 to 127.
    pub from: u8,
    /// The one that follows it, as soon as it is there.
    pub to: Option<u8>,
    /// The token that the new master is made on, by its name in the configuration.
    pub token: String,
    /// The class that it gets.
    pub class: KeyClass,
}

impl Registry {
    /// The rotation that was begun and is not done.
    pub async fn rotation(&self) -> Result<Option<Rotation>> {
        read(&mut self.readers.acquire().await?).await
    }

    /// Begins a rotation, unless one was begun.
    pub async fn begin_rotation(&self, rotation: &Rotation) -> Result<()> {
        transact!(self, |transaction| begin(transaction, rotation))
    }

    /// Registers the generation that the rotation was waiting for.
    pub async fn insert_next_generation(&self, row: &GenerationRow) -> Result<()> {
        transact!(self, |transaction| insert_next(transaction, row))
    }

    /// Forgets the rotation: it is done, or given up.
    pub async fn end_rotation(&self) -> Result<()> {
        transact!(self, |transaction| store(transaction, ROTATION, ""))
    }
}

async fn read(connection: &mut Connection) -> Result<Option<Rotation>> {
    let text = value(connection, ROTATION).await?.unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let malformed = |error| Trouble::new(TroubleKind::BadRow, format!("settings: the rotation does not read: {error}"));
    Ok(Some(serde_json::from_str(&text).map_err(malformed)?))
}

async fn write(transaction: &mut Connection, rotation: &Rotation) -> Result<()> {
    let text = serde_json::to_string(rotation).map_err(|error| Trouble::new(TroubleKind::Io, error.to_string()))?;
    store(transaction, ROTATION, &text).await
}

async fn begin(transaction: &mut Connection, rotation: &Rotation) -> Result<()> {
    match read(transaction).await? {
        Some(_) => Err(RegistryError::AnotherRotation),
        None => write(transaction, rotation).await,
    }
}

async fn insert_next(transaction: &mut Connection, row: &GenerationRow) -> Result<()> {
    match read(transaction).await? {
        Some(rotation @ Rotation { to: None, .. }) => {
            insert(transaction, row).await?;
            write(transaction, &Rotation { to: Some(row.number.number()), ..rotation }).await
        }
        _ => Err(RegistryError::AnotherRotation),
    }
}
