//! What decides whether a key is registered, read in one look: it is the statements that cost, not what they read.
//!
//! The transaction holds the write lock, so what the look says holds until the end.

use rederive_hsm::access_key_id::{Fields, Layout};

use super::accounts::{self, as_int};
use super::cells::Cells;
use super::{
    Connection, GenerationState, KeyAge, KeyRow, KeyStatus, KeyUser, NewKey, Owner, RegistryError, Result, Row, UserId,
    denials, generations, query,
};
use crate::key_terms::KeyTerms;

/// What the registry knows of a key to be, and of what it is asked with.
pub(super) struct Grounds {
    generation: Option<GenerationState>,
    owner: Option<KnownOwner>,
    owner_is_denied: bool,
    /// Keys that the owner has, inactive ones counted.
    keys: i64,
    /// Serial numbers that the account has drawn in the generation.
    serials: i64,
    signature_was_used: bool,
    /// It was issued, or denied before it was: somebody else knows its secret.
    id_is_taken: bool,
}

struct KnownOwner {
    user: Option<KeyUser>,
    keys_per_user: Option<u32>,
    age: KeyAge,
}

impl Grounds {
    /// Looks, inside a transaction.
    pub async fn look(transaction: &mut Connection, new: &NewKey) -> Result<Self> {
        let text = format!(
            "SELECT g.number, g.state, g.check_value, g.class, g.share_first, g.share_last, g.created_at, \
             a.number AS account, a.keys_per_user, a.max_key_age, a.key_warning, \
             u.user_id, u.name AS user_name, u.path AS user_path, \
             (SELECT count(*) FROM denials WHERE subject = $5 OR subject = $6) AS owner_denials, \
             (SELECT count(*) FROM access_keys WHERE account = $1 AND {} AND status <> 'deleted') AS keys, \
             (SELECT count FROM serials_used WHERE account = $1 AND generation = $3) AS serials, \
             (SELECT count(*) FROM used_signatures WHERE hash = $8) AS signatures, \
             (SELECT count(*) FROM access_keys WHERE id = $4) + (SELECT count(*) FROM denials WHERE subject = $7) AS taken \
             FROM (SELECT 1 AS one) AS here LEFT JOIN generations g ON g.number = $3 LEFT JOIN accounts a ON a.number = $1 \
             LEFT JOIN users u ON u.user_id = $2 AND u.account = $1 AND u.deleted_at IS NULL",
            new.owner.condition()
        );
        let row = query(&text)
            .bind(as_int(new.owner.account))
            .bind(new.owner.user_id.as_ref().map_or("", UserId::as_str))
            .bind(i64::from(new.id.fields().generation().number()))
            .bind(new.id.as_str())
            .bind(new.owner.user_id.as_ref().map_or(String::new(), denials::user_name))
            .bind(denials::account_name(new.owner.account))
            .bind(denials::key_name(&new.id))
            .bind(new.signature.as_ref().map_or(&[][..], |signature| signature.hash.as_slice()))
            .fetch_one(&mut *transaction)
            .await?;
        Self::read(transaction, &row, &new.owner).await
    }

    async fn read(transaction: &mut Connection, row: &Row, owner: &Owner) -> Result<Self> {
        let number: Option<i64> = row.try_get("number")?;
        let generation = match number {
            Some(_) => Some(generations::read_or_recall(transaction, row).await?.state),
            None => None,
        };
        let count = |column| row.try_get::<i64, _>(column);
        Ok(Self {
            generation,
            owner: read_owner(row, owner)?,
            owner_is_denied: count("owner_denials")? > 0,
            keys: count("keys")?,
            serials: row.try_get::<Option<i64>, _>("serials")?.unwrap_or(0),
            signature_was_used: count("signatures")? > 0,
            id_is_taken: count("taken")? > 0,
        })
    }

    /// The row that the key will have, or why there will be none.
    pub fn judge(&self, new: &NewKey, actor: Option<&KeyRow>) -> Result<KeyRow> {
        let fields = new.id.fields();
        let (account, generation) = (new.owner.account, fields.generation());
        match self.generation {
            Some(GenerationState::Issuing) => {}
            Some(state) => return Err(RegistryError::NotIssuing { generation, state }),
            None => return Err(RegistryError::NoSuchGeneration(generation)),
        }
        let owner = self.check_owner(&new.owner)?;
        // Before the signature: who asks thrice within a second, with one signature, is told of the quota at once.
        // An account's own quota is for its users; root's keys stay few.
        let quota = owner.user.as_ref().and(owner.keys_per_user).unwrap_or(new.quota);
        if self.keys >= i64::from(quota) {
            return Err(RegistryError::QuotaExceeded(quota));
        }
        check_terms(actor, &new.terms)?;
        self.check_signature()?;
        if self.serials >= half_of_serials(&fields) {
            return Err(RegistryError::SerialsExhausted { account, generation });
        }
        if self.id_is_taken {
            return Err(RegistryError::DuplicateId(new.id));
        }
        Ok(KeyRow {
            id: new.id,
            account,
            user: owner.user.clone(),
            generation,
            status: KeyStatus::Active,
            created_at: new.at,
            created_by: new.created_by,
            status_changed_at: new.at,
            last_used: None,
            terms: new.terms.clone(),
            age: owner.age,
        })
    }

    /// What must be so for a key, too, that was made before and is told again.
    pub fn judge_owner_and_signature(&self, new: &NewKey) -> Result<()> {
        self.check_owner(&new.owner)?;
        self.check_signature()
    }

    /// Whether there is such an owner, and it may be given keys.
    fn check_owner(&self, owner: &Owner) -> Result<&KnownOwner> {
        match &self.owner {
            Some(_) if self.owner_is_denied => Err(RegistryError::OwnerDenied),
            Some(known) => Ok(known),
            None => Err(match &owner.user_id {
                None => RegistryError::NoSuchAccount(owner.account),
                Some(user_id) => RegistryError::NoSuchUser { account: owner.account, user: user_id.to_string() },
            }),
        }
    }

    fn check_signature(&self) -> Result<()> {
        if self.signature_was_used { Err(RegistryError::SignatureReplayed) } else { Ok(()) }
    }
}

/// Nobody gets a key that is good for more, or for longer, than the one that it is asked for with.
pub(super) fn check_terms(actor: Option<&KeyRow>, terms: &KeyTerms) -> Result<()> {
    match actor {
        Some(actor) if !terms.are_within(&actor.terms) => Err(RegistryError::BeyondOwnTerms(actor.id)),
        _ => Ok(()),
    }
}

/// The account, and the user, if it is one.
fn read_owner(row: &Row, owner: &Owner) -> Result<Option<KnownOwner>> {
    let cells = Cells::of(row, "accounts", "account");
    if cells.optional_int("account")?.is_none() {
        return Ok(None);
    }
    let user = match &owner.user_id {
        None => None,
        Some(_) if cells.optional_text("user_id")?.is_none() => return Ok(None),
        Some(user_id) => {
            Some(KeyUser { user_id: user_id.clone(), name: cells.text("user_name")?, path: cells.text("user_path")? })
        }
    };
    let keys_per_user = accounts::read_keys_per_user(&cells)?;
    Ok(Some(KnownOwner { user, keys_per_user, age: accounts::read_age(&cells)? }))
}

/// Beyond half, collisions make issuing slow and ids worth guessing.
fn half_of_serials(fields: &Fields) -> i64 {
    let layout = match fields {
        Fields::Account { .. } => Layout::Account,
        Fields::Opaque { .. } => Layout::Opaque,
    };
    1 << (layout.serial_bits() - 1)
}
