//! The IAM and STS query APIs through their public entry: parameters in, XML out, a real registry behind.

mod audit;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod policies;
mod public_door;
mod scenes;
mod secrets;
mod shapes;

use http::Method;
use rederive::audit::Audit;
use rederive::authority::{IssueError, Issued, KeyRequest, NewKeySpec};
use rederive::iam::{
    Answer, Caller, KeyOffice, Origin, Parameters, Principal, Service, SignaturePlace, Signed, answer,
};
use rederive::registry::{
    GenerationRow, GenerationState, KeyStatus, KeyUser, Location, NewKey, NewUser, Owner, PolicyLimits, Registry,
    RegistryError, Tag, UserId,
};
use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields, Generation, Prefix, TagKey};
use rederive_hsm::config::KeyClass;
use rederive_hsm::secret::{Secret32, SecretAccessKey};

/// 2026-11-21T12:00:00Z.
const NOW: i64 = 1_795_262_400;
const SECRET: &str = "6yyLEuMnK6MFqQ0b4c3JZ8ICZnVr5QdP/lpxxwkO";
/// What lets alice manage her own keys.
const SELF_MANAGE: &str = "arn:aws:iam::aws:policy/IAMSelfManageAccessKeys";
const ALICE: &str = "AIDAALICEALICEALICE22";
const BOB: &str = "AIDABOBBOBBOBBOBBOB22";

/// A registry with an account, its root key 1, and two users: alice with key 2 below a path, bob with key 3 and tags.
struct Place {
    registry: Registry,
    office: Office,
    audit: Audit,
    folder: tempfile::TempDir,
}

/// Stands in for the authority: real rows, ids by counting, one known secret, no HSM.
struct Office {
    registry: Registry,
    next: std::sync::atomic::AtomicU32,
    /// What issuing fails with, if it is to fail.
    broken: Option<fn() -> IssueError>,
}

impl KeyOffice for Office {
    async fn issue_key(&self, owner: &Owner, request: &KeyRequest, now: i64) -> Result<Issued, IssueError> {
        if let Some(broken) = self.broken {
            return Err(broken());
        }
        let id = id(self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let (created_by, signature) = (Some(request.by), Some(request.signature));
        let NewKeySpec { terms, description } = request.new.clone();
        let new = NewKey { id, owner: owner.clone(), created_by, signature, quota: 2, terms, description, at: now };
        let row = self.registry.insert_key(&new).await?;
        Ok(Issued { row, secret: secret(), again: false })
    }

    async fn set_status(
        &self,
        id: &AccessKeyId,
        owner: &Owner,
        status: KeyStatus,
        by: AccessKeyId,
        now: i64,
    ) -> Result<(), RegistryError> {
        self.registry.on_behalf_of(by).set_key_status(id, owner, status, now).await.map(|_| ())
    }

    async fn catch_up(&self) -> Result<(), RegistryError> {
        Ok(())
    }

    fn keys_per_user(&self) -> u32 {
        2
    }
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let registry =
            Registry::create_or_open(&Location::File(folder.path().join("registry.sqlite"))).await.expect("opens");
        registry.create_account(account(), NOW - 1000).await.expect("an account");
        registry.insert_generation(&generation()).await.expect("a generation");
        let place = Self {
            office: Office { registry: registry.clone(), next: 100.into(), broken: None },
            registry,
            audit: Audit::off(),
            folder,
        };
        place.key(1, None).await;
        place.user(ALICE, "alice", "/eng/", vec![]).await;
        place.key(2, Some(ALICE)).await;
        let limits = PolicyLimits { attached: 10, inline_size: 2048 };
        let alice = UserId::parse(ALICE).expect("an id");
        place.registry.attach_policy(account(), &alice, SELF_MANAGE, limits, NOW - 500).await.expect("attached");
        let tags = vec![Tag { key: "team".into(), value: "a & b".into() }, Tag { key: "x".into(), value: "".into() }];
        place.user(BOB, "bob", "/", tags).await;
        place.key(3, Some(BOB)).await;
        place
    }

    async fn user(&self, id: &str, name: &str, path: &str, tags: Vec<Tag>) {
        let user_id = UserId::parse(id).expect("an id");
        let new = NewUser { user_id, account: account(), name: name.into(), path: path.into(), tags, at: NOW - 500 };
        self.registry.create_user(&new).await.expect("a user");
    }

    async fn key(&self, serial: u32, user: Option<&str>) {
        let owner = Owner { account: account(), user_id: user.map(|id| UserId::parse(id).expect("an id")) };
        let new = NewKey {
            id: id(serial),
            owner,
            created_by: None,
            signature: None,
            quota: 2,
            terms: Default::default(),
            description: None,
            at: NOW - 400,
        };
        self.registry.insert_key(&new).await.expect("a key");
    }

    /// Has a caller POST a form.
    async fn post(&self, caller: &Caller, form: &str) -> Answer {
        self.send(caller, form, Method::POST).await
    }

    /// Has a caller send parameters: as a query with GET, as a form with POST. The version is added.
    async fn send(&self, caller: &Caller, form: &str, method: Method) -> Answer {
        let service =
            if form.contains("Action=GetCaller") || form.contains("KeyInfo") { Service::Sts } else { Service::Iam };
        let form = format!("{form}&Version={}", service.version());
        let (query, body) = if method == Method::GET { (Some(form.as_str()), "") } else { (None, form.as_str()) };
        match Parameters::parse(&method, query, body.as_bytes()) {
            Ok(parameters) => {
                answer(&self.registry, &self.office, &self.audit, service, caller, &parameters, NOW).await
            }
            Err(error) => error.answer(service, &caller.request_id),
        }
    }
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).expect("XML is UTF-8")
}

/// The text of the first element of that name, unescaped by nobody.
fn element<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let (_, rest) = text(answer).split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}

fn root() -> Caller {
    caller(1, Principal::Root)
}

fn alice() -> Caller {
    let user_id = UserId::parse(ALICE).expect("an id");
    caller(2, Principal::User(KeyUser { user_id, name: "alice".into(), path: "/eng/".into() }))
}

fn caller(serial: u32, principal: Principal) -> Caller {
    let signed = Signed { place: SignaturePlace::Header, method: Method::POST, at: NOW, hash: [serial as u8; 32] };
    let origin = Origin { address: "192.0.2.1".into(), user_agent: Some("aws-cli/1".into()), region: "eu-1".into() };
    Caller { account: account(), access_key_id: id(serial), principal, signed, origin, request_id: "request-1".into() }
}

fn account() -> Account {
    Account::new(123_456_789_012).expect("twelve digits")
}

fn generation() -> GenerationRow {
    GenerationRow {
        number: Generation::new(0).expect("7 bits"),
        state: GenerationState::Issuing,
        check_value: [0; 32],
        class: KeyClass::Strict,
        shares: 0..=u16::MAX,
        created_at: 1,
    }
}

fn id(serial: u32) -> AccessKeyId {
    let generation = Generation::new(0).expect("7 bits");
    let fields = Fields::Account { account: account(), generation, needs_row: false, serial };
    let tag_key = TagKey::new(&Secret32::take(&mut [7; 32]));
    AccessKeyId::assemble(Prefix::parse("AKIA").expect("four letters"), &fields, &tag_key)
}

fn secret() -> SecretAccessKey {
    SecretAccessKey::take_slice(&mut SECRET.as_bytes().to_vec()).expect("40 characters")
}
