//! What a configuration means: the registry, the worker and the authority of one node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Audit, AuditError};
use crate::authority::{Authority, Policy, known_generations};
use crate::config::{AuditSink, Config, Role, Token};
use crate::follower::{self, Follower};
use crate::registry::{Location, Registry, Settings};
use rederive_hsm::access_key_id::{Layout, Lifetime, Prefixes};
use rederive_hsm::client::{Child, Launch, Place, admin};
use rederive_hsm::config::{GenerationConfig, LayoutName, PrefixConfig, Rights, TokenConfig, WorkerConfig};
use rederive_hsm::pkcs11::ceremony::Step;
use rederive_hsm::worker::{AdminAnswer, AdminRequest};
use tokio::task::JoinHandle;

use crate::node::Node;

/// The binary that runs this process, even after an upgrade has replaced its file.
pub const THIS_BINARY: &str = "/proc/self/exe";
/// How far the clocks of two nodes may be apart, in seconds.
const CLOCKS: i64 = 5;
/// How long an administrative request may take: a network HSM may be slow to log in and to make a key.
const ADMIN: Duration = Duration::from_secs(30);

/// What keeps a configuration from becoming a node.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A node, as configured.
pub struct Site {
    /// Its configuration.
    pub config: Config,
    /// The `rederive` binary that its workers are.
    pub program: PathBuf,
    /// Variables set for its workers, besides those that the token's table sets.
    pub environment: Vec<(String, String)>,
}

impl Site {
    /// A node whose workers are this very binary.
    pub fn new(config: Config) -> Self {
        Self { config, program: THIS_BINARY.into(), environment: Vec::new() }
    }

    /// Where the registry is.
    pub fn registry(&self) -> Result<Location, Failure> {
        let registry = &self.config.registry;
        let database = match &registry.url {
            None => return Ok(Location::File(self.config.state_dir.join("registry.sqlite"))),
            Some(Location::File(path)) => return Ok(Location::File(path.clone())),
            Some(Location::Postgres(database)) => database.clone(),
        };
        let database = if registry.allow_plaintext { database } else { database.require_tls()? };
        Ok(Location::Postgres(match &registry.password_file {
            Some(file) => database.with_password_file(file)?,
            None => database,
        }))
    }

    /// The registry, its file made if it is missing, and its settings, settled against this configuration.
    pub async fn open_registry(&self) -> Result<(Registry, Settings), Failure> {
        std::fs::create_dir_all(&self.config.state_dir)
            .map_err(|error| format!("cannot make state_dir {}: {error}", self.config.state_dir.display()))?;
        let registry = Registry::create_or_open(&self.registry()?).await?;
        follower::check(&registry, &self.config.state_dir.join(follower::WITNESS)).await?;
        let settings = registry.settle(&self.wanted_settings()?).await?;
        Ok((registry, settings))
    }

    /// The tokens.
    pub fn tokens(&self) -> &[Token] {
        &self.config.token
    }

    /// The token of that name; without a name the first of the configuration.
    pub fn token(&self, name: Option<&str>) -> Result<&Token, Failure> {
        let mut tokens = self.config.token.iter();
        match name {
            None => tokens.next().ok_or_else(|| "there is no [[token]]".into()),
            Some(name) => {
                tokens.find(|token| token.name == name).ok_or_else(|| format!("there is no [[token]] '{name}'").into())
            }
        }
    }

    /// A token as a worker is told of it.
    pub fn token_config(&self, token: &Token) -> Result<TokenConfig, Failure> {
        Ok(token.to_worker(&self.config.state_dir)?)
    }

    /// The file that says that a token refused the PIN.
    pub fn latch(&self, token: &Token) -> PathBuf {
        token.latch(&self.config.state_dir)
    }

    /// How to start the workers of each token, knowing the generations of the registry.
    async fn launches(&self, registry: &Registry, settings: &Settings) -> Result<Vec<Launch>, Failure> {
        self.launches_for(settings, &known_generations(registry).await?)
    }

    fn launches_for(&self, settings: &Settings, generations: &[GenerationConfig]) -> Result<Vec<Launch>, Failure> {
        let own = |token: &Token| if token.socket.is_none() { token.workers } else { 0 };
        let processes = self.config.token.iter().map(own).fold(0, u16::saturating_add);
        let mut first = 0;
        let launches = self.config.token.iter().map(|token| {
            let place = match &token.socket {
                Some(socket) => Place::Socket(socket.clone()),
                None => Place::Child(Box::new(Child { processes, first, ..self.child(token, settings)? })),
            };
            first = first.saturating_add(own(token));
            Ok(self.launch(token, place, generations))
        });
        launches.collect()
    }

    fn launch(&self, token: &Token, place: Place, generations: &[GenerationConfig]) -> Launch {
        Launch {
            token: token.name.clone(),
            generations: generations.to_vec(),
            place,
            deadline: Duration::from_millis(self.config.token_deadline_ms(token)),
            workers: token.workers,
            weight: token.weight,
            is_shared: token.shared,
        }
    }

    fn child(&self, token: &Token, settings: &Settings) -> Result<Child, Failure> {
        let config = WorkerConfig {
            token: self.token_config(token)?,
            generations: Vec::new(),
            rights: self.rights(),
            prefixes: prefix_config(&settings.prefixes),
            layout: match settings.layout {
                Layout::Account => LayoutName::Account,
                Layout::Opaque => LayoutName::Opaque,
            },
            listen: None,
        };
        let environment = self.worker_environment(token);
        Ok(Child { program: self.program.clone(), config, environment, processes: token.workers, first: 0 })
    }

    /// How this node decides.
    pub fn policy(&self) -> Policy {
        let max_staleness = i64::from(self.config.feed.max_staleness_s);
        let has_verifiers =
            self.config.role == Role::Issuer || self.config.caller.iter().any(|caller| caller.deny_feed);
        let policy = Policy::default();
        Policy {
            deadline: Duration::from_millis(self.config.hsm_deadline_ms()),
            hsm_queue: self.config.hsm.queue,
            cold_per_account: self.config.hsm.per_account,
            min_replicas: self.config.hsm.min_replicas,
            max_staleness,
            signature_v2: self.config.verify.signature_v2.clone(),
            s3_hosts: self.config.verify.s3_hosts.clone(),
            // A verifier that decides has heard of everything older than its staleness; some seconds for clocks that differ.
            announce: if has_verifiers { max_staleness + CLOCKS } else { policy.announce },
            ..policy
        }
    }

    /// Carries out an administrative request to a token in a worker of its own.
    pub fn administrate(&self, token: &Token, request: &AdminRequest) -> Result<AdminAnswer, Failure> {
        let patience = token.pin_sources().iter().fold(ADMIN, |usual, source| source.patience(usual));
        let patience = match request {
            AdminRequest::Ceremony { step: Step::Trust { officer, .. }, .. } => officer.patience(patience),
            _ => patience,
        };
        match admin(&self.program, &self.worker_environment(token), request, patience)? {
            AdminAnswer::Failed { reason, .. } => Err(reason.into()),
            answer => Ok(answer),
        }
    }

    /// The authority of this node, its worker starting, and the task that watches over the worker.
    pub async fn authority(&self) -> Result<(Arc<Authority>, JoinHandle<()>), Failure> {
        let (registry, settings) = self.open_registry().await?;
        let launches = self.launches(&registry, &settings).await?;
        let started = Authority::start(registry, settings, self.policy(), launches).await?;
        tokio::spawn(follower::keep(started.0.clone(), self.config.state_dir.join(follower::WITNESS)));
        Ok(started)
    }

    /// The authority of a verifier, which follows the deny feed for as long as the runtime lives.
    pub async fn verifier(&self) -> Result<(Arc<Authority>, JoinHandle<()>), Failure> {
        let (config, settings) = (&self.config, self.wanted_settings()?);
        std::fs::create_dir_all(&config.state_dir)
            .map_err(|error| format!("cannot make state_dir {}: {error}", config.state_dir.display()))?;
        let launches = self.launches_for(&settings, &[])?;
        let (authority, supervisor) = Authority::start_verifier(settings, self.policy(), launches);
        let pinned = config.feed.public_keys.clone();
        let follower = Follower::start(authority.clone(), &config.state_dir, pinned, &config.issuer).await?;
        tokio::spawn(follower.run());
        Ok((authority, supervisor))
    }

    /// The audit log, open for writing.
    pub fn audit(&self) -> Result<Audit, AuditError> {
        if self.config.audit.sink_of(self.config.role) == AuditSink::File && self.config.audit.file.is_none() {
            std::fs::create_dir_all(&self.config.state_dir).ok();
        }
        Audit::open(&self.config)
    }

    /// A node of it with its doors bound.
    pub async fn node(&self) -> Result<Node, Failure> {
        let (authority, supervisor) = match self.config.role {
            Role::All | Role::Issuer => self.authority().await?,
            Role::Verifier => self.verifier().await?,
        };
        Ok(Node::bind(&self.config, authority, supervisor, self.audit()?).await?)
    }

    fn worker_environment(&self, token: &Token) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        environment.extend(token.environment.clone());
        environment
    }

    fn wanted_settings(&self) -> Result<Settings, Failure> {
        let prefixes = &self.config.issuing.prefixes;
        let prefixes = Prefixes::new(vec![prefixes.long_term], vec![prefixes.temporary])
            .ok_or("[issuing] prefixes: long_term and temporary must differ")?;
        Ok(Settings { layout: self.config.issuing.layout, prefixes })
    }

    fn rights(&self) -> Rights {
        let verify = &self.config.verify;
        let issue = self.config.role != Role::Verifier;
        let mut services = verify.services.to_list();
        if issue {
            services.extend(["iam".to_owned(), "sts".to_owned()]);
        }
        Rights {
            issue,
            presigned: services.clone(),
            services,
            regions: verify.regions.to_list(),
            signature_v2: verify.signature_v2.to_list(),
            ..Rights::default()
        }
    }
}

fn prefix_config(prefixes: &Prefixes) -> PrefixConfig {
    let list = |lifetime| prefixes.all(lifetime).iter().map(|prefix| prefix.as_str().to_owned()).collect();
    PrefixConfig { long_term: list(Lifetime::LongTerm), temporary: list(Lifetime::Temporary) }
}
