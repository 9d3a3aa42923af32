//! What the registry answers when it doesn't do what was asked.

use rederive_hsm::access_key_id::{AccessKeyId, Account, Generation};
use sqlx::postgres::PgDatabaseError;

use super::{GenerationState, UserId};

/// The result of a registry call.
pub type Result<T> = std::result::Result<T, RegistryError>;

/// Either the answer is no, or the registry is in [`Trouble`](Self::Trouble) and can't tell. The text is for the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The account is not registered.
    #[error("there is no account {0}")]
    NoSuchAccount(Account),
    /// The account is registered already.
    #[error("account {0} exists already")]
    AccountExists(Account),
    /// The account has no such user, or no longer.
    #[error("account {account} has no user {user}")]
    NoSuchUser {
        /// Where it was looked for.
        account: Account,
        /// Its name or id, as asked.
        user: String,
    },
    /// The account has a user of that name, in upper or lower case.
    #[error("account {account} has a user {name} already")]
    UserExists {
        /// Where it was to be created.
        account: Account,
        /// The name asked for.
        name: String,
    },
    /// A user with that id exists or existed. Draw another id.
    #[error("the user id {0} is taken")]
    DuplicateUserId(UserId),
    /// The user still has keys.
    #[error("user {0} still has access keys")]
    DeleteConflict(UserId),
    /// The user still has policies.
    #[error("user {0} still has policies")]
    HasPolicies(UserId),
    /// The user has no such policy.
    #[error("there is no policy {0} of that user")]
    NoSuchPolicy(String),
    /// There would be more of something than there may be. The text is for whoever asked.
    #[error("{0}")]
    TooMuch(String),
    /// The owner has no such key, or no longer.
    #[error("{0} is no access key of that owner")]
    NoSuchKey(AccessKeyId),
    /// A key with that id exists or existed. Take the next attempt.
    #[error("the access key id {0} is taken")]
    DuplicateId(AccessKeyId),
    /// The key's time is over: it cannot be switched on.
    #[error("{0} has expired")]
    Expired(AccessKeyId),
    /// The key that signed for the change is not active any more.
    #[error("{0}, which signed for this, is not active any more")]
    ActorDenied(AccessKeyId),
    /// An operator denied the owner, or its account: it gets no key.
    #[error("the owner of the key to be, or its account, is denied")]
    OwnerDenied,
    /// The key that signed is good for less, or for a shorter time, than the key that it asks for.
    #[error("the key to be would be good for more, or for longer, than {0}, which signed for it")]
    BeyondOwnTerms(AccessKeyId),
    /// The owner has as many keys as it may.
    #[error("the owner has {0} access keys already")]
    QuotaExceeded(u32),
    /// A secret was given out for this signature before.
    #[error("the request's signature was used before")]
    SignatureReplayed,
    /// The client token was used for something else within the day.
    #[error("the client token was used for another request")]
    TokenOfAnotherRequest,
    /// The key that the client token has led to is deleted. It stays so.
    #[error("the client token has led to {0}, which is deleted")]
    TokenOfDeletedKey(AccessKeyId),
    /// The account has drawn half of its serial numbers in the generation.
    #[error("account {account} has used half of its serial numbers in generation {generation}: issue in another")]
    SerialsExhausted {
        /// The account.
        account: Account,
        /// The generation.
        generation: Generation,
    },
    /// The generation is not registered.
    #[error("there is no generation {0}")]
    NoSuchGeneration(Generation),
    /// A generation's number is used once.
    #[error("generation {0} exists already")]
    GenerationExists(Generation),
    /// Keys are issued under an issuing generation only.
    #[error("generation {generation} is {state}, not issuing")]
    NotIssuing {
        /// The generation.
        generation: Generation,
        /// Its state.
        state: GenerationState,
    },
    /// A generation's state goes one way only.
    #[error("generation {generation} is {from} and can't become {to}")]
    StateGoesBack {
        /// The generation.
        generation: Generation,
        /// Its state.
        from: GenerationState,
        /// The state asked for.
        to: GenerationState,
    },
    /// Closing the generation would break keys that whoever closes it did not name.
    #[error(
        "generation {generation} has {active} active keys, which would be refused: 'generation progress' shows whose; say --breaks {active} to break them"
    )]
    StillInUse {
        /// The generation.
        generation: Generation,
        /// How many active keys it has.
        active: i64,
    },
    /// Closing the generation would switch off keys of others that whoever closes it did not name.
    #[error(
        "{count} active keys of other generations were made with keys of generation {generation} since then: 'generation made-with' lists them; say --switches-off {count}"
    )]
    MadeWith {
        /// The generation.
        generation: Generation,
        /// How many active keys were made with its keys.
        count: usize,
    },
    /// A rotation was begun, or somebody else has taken its next step.
    #[error("another rotation is under way: 'rederive rotate' goes on with it, 'rederive rotate --abandon' forgets it")]
    AnotherRotation,
    /// The maximum age would end keys that whoever sets it did not name.
    #[error(
        "{active} active keys of account {account} are older, and would be refused: 'key list' shows them; say --ends {active} to end them"
    )]
    WouldEnd {
        /// The account.
        account: Account,
        /// How many active keys are older.
        active: i64,
    },
    /// A setting was fixed at first start and differs from the one asked for.
    #[error("{0}")]
    SettingFixed(String),
    /// An operator named another state of the registry than the one that there is.
    #[error("the registry's feed is at {0}: name that, if it is what you have restored")]
    OtherHead(String),
    /// This node is a verifier.
    #[error("this node is a verifier, which has no registry")]
    None,
    /// The registry could not tell.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// The registry could not do its work; nothing was changed. The text is for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("registry: {kind}: {text}")]
pub struct Trouble {
    /// Which reaction it asks for.
    pub kind: TroubleKind,
    text: String,
}

/// Classes of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TroubleKind {
    /// Another process or call held the lock for too long.
    #[error("locked")]
    Locked,
    /// No room on the disk.
    #[error("disk full")]
    DiskFull,
    /// The file or its file system can't be written.
    #[error("read-only")]
    ReadOnly,
    /// The file, or its absence, is not what a registry looks like.
    #[error("damaged")]
    Damaged,
    /// One row doesn't read; the text names it.
    #[error("malformed row")]
    BadRow,
    /// The schema was written by another version.
    #[error("schema")]
    Schema,
    /// The registry is not the one that was there before, or an older state of it.
    #[error("set back")]
    SetBack,
    /// Another writer was in the way, and everything was rolled back.
    #[error("write conflict")]
    Collided,
    /// The database does not answer.
    #[error("unreachable")]
    Unreachable,
    /// Anything else of the system's.
    #[error("i/o")]
    Io,
}

impl Trouble {
    pub(super) fn new(kind: TroubleKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl RegistryError {
    /// Whether one row does not read, and the rest may.
    pub(super) fn is_bad_row(&self) -> bool {
        matches!(self, Self::Trouble(trouble) if trouble.kind == TroubleKind::BadRow)
    }

    /// Says in a trouble's text where it was met.
    pub(super) fn at(self, place: &impl std::fmt::Display) -> Self {
        match self {
            Self::Trouble(Trouble { kind, text }) => Trouble::new(kind, format!("{place}: {text}")).into(),
            no => no,
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => kind_of_state(error.code()),
                None => kind_of_code(database.code().as_deref()),
            },
            sqlx::Error::PoolTimedOut => TroubleKind::Locked,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => TroubleKind::Unreachable,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => TroubleKind::BadRow,
            _ => TroubleKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => TroubleKind::DiskFull,
            std::io::ErrorKind::ReadOnlyFilesystem => TroubleKind::ReadOnly,
            _ => TroubleKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}

/// SQLite's result codes; the low byte of an extended code is its primary code.
fn kind_of_code(code: Option<&str>) -> TroubleKind {
    match code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => TroubleKind::Locked,
        Some(8) => TroubleKind::ReadOnly,
        Some(11 | 26) => TroubleKind::Damaged,
        Some(13) => TroubleKind::DiskFull,
        _ => TroubleKind::Io,
    }
}

/// PostgreSQL's states: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn kind_of_state(state: &str) -> TroubleKind {
    match state {
        "40001" | "40P01" => TroubleKind::Collided,
        "55P03" | "57014" => TroubleKind::Locked,
        "53100" => TroubleKind::DiskFull,
        "25006" => TroubleKind::ReadOnly,
        "XX001" | "XX002" => TroubleKind::Damaged,
        // Connections refused, being ended, too many; a server that starts or stops.
        _ if ["08", "28", "57P", "533"].iter().any(|class| state.starts_with(class)) => TroubleKind::Unreachable,
        _ => TroubleKind::Io,
    }
}
