//! A node: an authority behind its two doors, from bound listeners to the last answered request.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rederive_hsm::client::{STATES, TokenState};
use rederive_hsm::wire::Reason;
use rederive_memory::kinds;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;

use crate::api::ApiDoor;
use crate::audit::{Audit, AuditError, Event, anchor_forever, anchor_last};
use crate::authority::{Authority, Told};
use crate::config::{Config, Role};
use crate::http::{BindError, Door, TlsError, server_config};
use crate::operator::{OperatorBindError, OperatorDoor};
use crate::rpc::{CallerError, Callers, Metrics, Readings, RpcDoor};

/// How long the worker may take to drain after the doors have.
const WORKER_DRAIN: Duration = Duration::from_secs(1);

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The operator's socket cannot be listened on.
    #[error(transparent)]
    Operator(#[from] OperatorBindError),
    /// A caller cannot be set up.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The audit log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// A node whose doors are bound.
pub struct Node {
    authority: Arc<Authority>,
    supervisor: JoinHandle<()>,
    /// A verifier has none.
    api: Option<(Door, ApiDoor)>,
    /// Only if it is configured.
    operator: Option<OperatorDoor>,
    rpc: (Door, RpcDoor<Authority>),
    signals: Signals,
    audit: Audit,
}

/// What an operator or an init system sends.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Node {
    /// Binds both doors and tells the audit log of the start; connections and signals wait until [`Node::run`].
    pub async fn bind(
        config: &Config,
        authority: Arc<Authority>,
        supervisor: JoinHandle<()>,
        audit: Audit,
    ) -> Result<Self, NodeError> {
        audit.record(Event::node("NodeStarted", config.role.name())).await?;
        authority.tell_of_derivations(note_derivations(audit.clone()));
        let (api, rpc, limits) = (&config.api, &config.rpc, &config.limits);
        let metrics = Arc::new(Metrics::new(readings(authority.clone(), audit.clone())));
        let callers = Callers::new(config)?;
        let rpc_tls = tls(&rpc.tls_cert, &rpc.tls_key, &rpc.client_ca)?;
        let is_issuer = config.role != Role::Verifier;
        let api = match is_issuer {
            false => None,
            true => {
                let door = Door::bind(api.listen, tls(&api.tls_cert, &api.tls_key, &None)?, limits).await?;
                Some((door, ApiDoor::new(authority.clone(), audit.clone(), metrics.clone(), limits)))
            }
        };
        let mut rpc_door = RpcDoor::new(authority.clone(), callers, metrics, audit.clone(), limits);
        if is_issuer {
            rpc_door = rpc_door.with_feed(authority.clone());
        }
        Ok(Self {
            api,
            operator: OperatorDoor::bind(config, authority.clone(), audit.clone())?,
            rpc: (Door::bind(rpc.listen, rpc_tls, limits).await?, rpc_door),
            authority,
            supervisor,
            audit,
            signals: Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
            },
        })
    }

    /// The authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The URL of the IAM and STS endpoint; a verifier has none.
    pub fn endpoint(&self) -> Option<String> {
        self.api.as_ref().map(|(door, _)| url(door))
    }

    /// The URL of the verification RPC.
    pub fn rpc_endpoint(&self) -> String {
        url(&self.rpc.0)
    }

    /// Serves until SIGTERM or SIGINT, then drains both doors, writes what is left to write, and lets the worker end.
    pub async fn run(self) {
        let Self { authority, supervisor, api, operator, rpc: (rpc, rpc_handler), signals, audit } = self;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(obey(signals, authority.clone(), stop));
        let anchors = tokio::spawn(anchor_forever(audit.clone(), authority.clone()));
        let serve_api = async {
            if let Some((door, handler)) = api {
                door.serve("api", handler, told(stopped.clone())).await;
            }
        };
        let serve_operator = async {
            if let Some(door) = operator {
                door.serve(told(stopped.clone())).await;
            }
        };
        tokio::join!(serve_api, serve_operator, rpc.serve("rpc", rpc_handler, told(stopped.clone())));
        anchors.abort();
        if let Err(error) = audit.close().await {
            tracing::error!(%error, "the last events are not in the audit log");
        }
        anchor_last(&audit, &authority).await;
        authority.write_uses().await;
        authority.hsm().stop().await;
        if tokio::time::timeout(WORKER_DRAIN, supervisor).await.is_err() {
            tracing::warn!("the HSM worker did not end in time");
        }
        if let Ok(registry) = authority.registry() {
            registry.close().await;
        }
    }
}

/// SIGTERM and SIGINT end the node; an operator who sends SIGHUP has looked at the clock.
async fn obey(mut signals: Signals, authority: Arc<Authority>, stop: watch::Sender<bool>) {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => {
                authority.clock().trust_again();
                tracing::warn!("the clock is trusted as it is now, because of SIGHUP");
            }
        }
    }
    authority.drain();
    tracing::info!("draining");
    stop.send_replace(true);
}

async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that nobody can tell any more, which ends it too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn tls(
    cert: &Option<PathBuf>,
    key: &Option<PathBuf>,
    client_ca: &Option<PathBuf>,
) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    match (cert, key) {
        (Some(cert), Some(key)) => server_config(cert, key, client_ca.as_deref()).map(Some),
        _ => Ok(None),
    }
}

fn url(door: &Door) -> String {
    format!("{}://{}", if door.is_tls() { "https" } else { "http" }, door.address())
}

/// Callers have names; whoever uses the door for users is known by the key that is asked about.
fn note_derivations(audit: Audit) -> Told {
    Box::new(move |derivation| {
        let caller = derivation.caller.unwrap_or("api");
        let id = derivation.access_key_id.to_string();
        audit.derived(caller, |at| Event::derivation(Some(&id), Some(derivation.account), caller, at));
    })
}

fn readings(authority: Arc<Authority>, audit: Audit) -> impl Fn() -> Readings + Send + Sync + 'static {
    move || {
        let counts = authority.hsm().counts();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = authority.clock().now();
        Readings {
            hsm_requests: vec![
                ("signing_key", count(&counts.signing_key)),
                ("sigv4a_public_key", count(&counts.sigv4a_public_key)),
                ("matches_v2", count(&counts.matches_v2)),
                ("tag_key", count(&counts.tag_key)),
                ("check", count(&counts.check)),
                ("issue", count(&counts.issue)),
                ("sign_head", count(&counts.sign_head)),
            ],
            hsm_worker_starts: count(&counts.starts),
            hsm_hedges: count(&counts.hedges),
            hsm_turned_away: count(&counts.full),
            hsm_put_off: authority.put_off().to_vec(),
            hsm_differences: count(&counts.differences),
            hsm_refusals: Reason::ALL.iter().map(|one| (one.word(), count(&counts.refusals[one.index()]))).collect(),
            master_uses: authority.hsm().uses(),
            secret_memory: kinds().map(|(kind, bytes)| (kind.word(), bytes)).to_vec(),
            hsm_workers: workers_by_token(&authority.hsm().tokens()),
            deny_list_age: now.as_ref().map_or(0, |now| now - authority.deny_list_as_of()),
            clock_trusted: now.is_ok(),
            audit: audit.failures(),
        }
    }
}

/// How many workers of each token are in each state.
fn workers_by_token(tokens: &[TokenState]) -> Vec<(String, &'static str, i64)> {
    let of_token = |token: &TokenState| {
        let name = token.name.to_string();
        let count = |state| token.workers.iter().filter(|standing| standing.word() == state).count() as i64;
        STATES.map(|state| (name.clone(), state, count(state)))
    };
    tokens.iter().flat_map(of_token).collect()
}
